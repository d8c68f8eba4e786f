/** Which series a chart draws together: those of all processes of a training, or those that somebody asked for. Pure. */
import type { RunRow } from '../../wire/types'

/** One line of a chart. */
export interface Part {
  /** The series. */
  name: string
  /** What tells it from the others of its run; empty for a line that stands for its run. */
  label: string
  /** One process among all, behind their mean. */
  thin?: boolean
  /** Series of the lower and the upper edge of a band around it. */
  band?: readonly [string, string]
}

/** A chart that the training asked for: lines together, or a value between two bounds. */
export interface CustomChart {
  key: string
  category: string
  title: string
  kind: 'multiline' | 'margin'
  series: readonly string[]
}

const RANK = /^rank(\d+)\/(.+)$/
const REDUCED = /^ranks\/(mean|min|max)\/(.+)$/

/** The series that one of a single process, or of all of them together, is a part of. */
export const baseOf = (name: string): string => RANK.exec(name)?.[2] ?? REDUCED.exec(name)?.[2] ?? name

/** Lines of a run in the chart of `base`: that which stands for the run first. */
export function partsOf(run: RunRow, base: string): Part[] {
  const names = Object.keys(run.metrics)
  const single: [number, string][] = names.flatMap((name): [number, string][] => {
    const found = RANK.exec(name)
    return found && found[2] === base ? [[Number(found[1]), name]] : []
  })
  if (run.metrics[base]) single.push([0, base])
  single.sort((a, b) => a[0] - b[0])
  const mean = `ranks/mean/${base}`
  const [low, high] = [`ranks/min/${base}`, `ranks/max/${base}`]
  if (!run.metrics[mean])
    return single.map(([rank, name], i) => ({ name, label: i === 0 && single.length === 1 ? '' : `rank ${rank}` }))
  const band = run.metrics[low] && run.metrics[high] ? ([low, high] as const) : undefined
  return [
    { name: mean, label: '', band },
    ...single.map(([rank, name]): Part => ({ name, label: `rank ${rank}`, thin: true })),
  ]
}

/** Charts that the runs' settings ask for. Their keys are flat: custom_scalars/<category>/<title>/kind and /series. */
export function customCharts(runs: readonly RunRow[]): CustomChart[] {
  const charts = new Map<string, CustomChart>()
  for (const { config } of runs) {
    for (const [name, series] of Object.entries(config)) {
      const found = /^custom_scalars\/([^/]*)\/(.*)\/series$/s.exec(name)
      if (!found || !Array.isArray(series)) continue
      const [category, title] = [found[1]!, found[2]!]
      const key = `custom:${category}/${title}`
      const kind = config[`custom_scalars/${category}/${title}/kind`] === 'margin' ? 'margin' : 'multiline'
      if (!charts.has(key)) charts.set(key, { key, category, title, kind, series: series.map(String) })
    }
  }
  return [...charts.values()]
}

/** Lines of a run in such a chart. What is no series of the run is a pattern of some. */
export function customParts(run: RunRow, chart: CustomChart): Part[] {
  const [value, low, high] = chart.series
  if (chart.kind === 'margin') {
    if (!value || !run.metrics[value]) return []
    const band = low && high && run.metrics[low] && run.metrics[high] ? ([low, high] as const) : undefined
    return [{ name: value, label: '', band }]
  }
  const names = new Set(chart.series.flatMap((wanted) => matching(run, wanted)))
  return [...names].map((name) => ({ name, label: name }))
}

function matching(run: RunRow, wanted: string): string[] {
  if (run.metrics[wanted]) return [wanted]
  try {
    const pattern = new RegExp(`^(?:${wanted})`)
    return Object.keys(run.metrics).filter((name) => pattern.test(name))
  } catch {
    return []
  }
}
