/** One number of a layer through time, read from the statistics of its tensors. */

import type { HistogramStack } from '../../wire/frames'
import type { LayerDocument, RunDetail } from '../../wire/types'

export const MEASURES = ['norm', 'grad', 'ratio'] as const
export type Measure = (typeof MEASURES)[number]

/** The series and column that a measure of a layer is read from; null where it was not recorded. */
export function measureSource(
  layer: LayerDocument,
  measure: Measure,
  detail: RunDetail,
): { series: string; column: string; rows: number } | null {
  const main = layer.parameters.find((p) => p.role === 'weight') ?? layer.parameters.find((p) => p.role !== 'buffer')
  if (!main) return null
  const series = measure === 'grad' ? `grad/${main.name}` : `param/${main.name}`
  const tensor = detail.tensors.find((t) => t.series === series && t.rows > 0)
  return tensor ? { series, column: measure === 'ratio' ? 'update_ratio' : 'norm', rows: tensor.rows } : null
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
