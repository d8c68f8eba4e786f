/** One number of a layer through time, read from the statistics of its tensors, and its place on a scale. */

import type { HistogramStack } from '../../wire/frames'
import type { LayerDocument, RunDetail } from '../../wire/types'

export const MEASURES = ['norm', 'grad', 'ratio', 'dead', 'mean', 'std'] as const
export type Measure = (typeof MEASURES)[number]

/** Where a measure's numbers come from, and how they are laid on colours. */
const SOURCES: Record<Measure, { of: 'param' | 'grad' | 'act'; column: string; scale: ScaleKind }> = {
  norm: { of: 'param', column: 'norm', scale: 'log' },
  grad: { of: 'grad', column: 'norm', scale: 'log' },
  ratio: { of: 'param', column: 'update_ratio', scale: 'log' },
  dead: { of: 'act', column: 'dead', scale: 'share' },
  mean: { of: 'act', column: 'mean', scale: 'signed' },
  std: { of: 'act', column: 'std', scale: 'log' },
}

export type ScaleKind = 'log' | 'share' | 'signed'

export interface Scale {
  readonly kind: ScaleKind
  readonly low: number
  readonly high: number
}

export const ofActivations = (measure: Measure) => SOURCES[measure].of === 'act'

/** Which statistic of which tensors holds a measure of all layers, and how many rows of it there are by now. */
export function askedFor(measure: Measure, detail: RunDetail): { kind: string; column: string; rows: number } {
  const { of: kind, column } = SOURCES[measure]
  const rows = detail.tensors.reduce((n, t) => n + (t.series.startsWith(`${kind}/`) ? t.rows : 0), 0)
  return { kind, column, rows }
}

/** The series and column that a measure of a layer is read from; null where it was not recorded. */
export function measureSource(
  layer: LayerDocument,
  measure: Measure,
  detail: RunDetail,
): { series: string; column: string; rows: number } | null {
  const { of, column } = SOURCES[measure]
  let name: string
  if (of === 'act') {
    if (layer.role === 'input' || layer.role === 'output') return null
    name = layer.role === 'module' && layer.module ? layer.module : layer.layer_id
  } else {
    const main = layer.parameters.find((p) => p.role === 'weight') ?? layer.parameters.find((p) => p.role !== 'buffer')
    if (!main) return null
    name = main.name
  }
  const series = `${of}/${name}`
  const tensor = detail.tensors.find((t) => t.series === series && t.rows > 0)
  return tensor ? { series, column, rows: tensor.rows } : null
}

/** A column of statistics through time. */
export function columnOf(rows: HistogramStack, column: string): Float64Array {
  const at = rows.columns.indexOf(column)
  const n = rows.columns.length
  return Float64Array.from({ length: rows.steps.length }, (_, t) =>
    at < 0 ? Number.NaN : rows.statistics[t * n + at]!,
  )
}

/** Where a value lies between the smallest and largest positive ones, on a log scale; null for what has no place. */
export function logPart(v: number, low: number, high: number): number | null {
  if (!(v > 0) || !Number.isFinite(v) || !(low > 0)) return null
  if (!(high > low)) return 1
  return Math.max(0, Math.min(1, Math.log(v / low) / Math.log(high / low)))
}

/** The smallest and largest positive finite value of many. */
export function positiveRange(columns: Iterable<ArrayLike<number>>): { low: number; high: number } | null {
  let low = Infinity
  let high = 0
  for (const column of columns) {
    for (let i = 0; i < column.length; i++) {
      const v = column[i]!
      if (!(v > 0) || v === Infinity) continue
      if (v < low) low = v
      if (v > high) high = v
    }
  }
  return high > 0 ? { low, high } : null
}

/** The scale of a measure over all layers and steps; null where nothing has a place on it. */
export function scaleOf(measure: Measure, columns: readonly ArrayLike<number>[]): Scale | null {
  const kind = SOURCES[measure].scale
  if (kind === 'share') return columns.length ? { kind, low: 0, high: 1 } : null
  if (kind === 'log') {
    const range = positiveRange(columns)
    return range && { kind, ...range }
  }
  let high = 0
  for (const column of columns)
    for (let i = 0; i < column.length; i++) {
      const v = Math.abs(column[i]!)
      if (v > high && v < Infinity) high = v
    }
  return high > 0 ? { kind, low: -high, high } : null
}

/** Where a value lies on a scale, 0 to 1; null for what has no place. */
export function partOf(v: number, { kind, low, high }: Scale): number | null {
  if (kind === 'log') return logPart(v, low, high)
  return Number.isFinite(v) ? Math.max(0, Math.min(1, (v - low) / (high - low))) : null
}
