/** What of a run's config are settings of its training: not how TensorBoard's writer asks its charts to be laid out. */
export const isSetting = (key: string): boolean => !key.startsWith('custom_scalars/')
