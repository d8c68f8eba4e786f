/** Series of the machine that a run trained on: no metrics of the training, and their steps are not its steps. */

const SYSTEM = /^(rank\d+\/)?system\//

/** Whether a series tells of the machine, such as `system/cpu` or `rank1/system/cpu`. */
export const isSystem = (name: string): boolean => SYSTEM.test(name)

/** Those of a run's metrics that are the training's. */
export const trained = <T>(metrics: Readonly<Record<string, T>>): [string, T][] =>
  Object.entries(metrics).filter(([name]) => !isSystem(name))
