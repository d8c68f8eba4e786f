/** How Python is told which series of predictions is meant. Pure. */

/** The argument after others: nothing for the usual name. */
export const namedIn = (series: string): string => (series === 'predictions' ? '' : `, name=${JSON.stringify(series)}`)
