/** One histogram, exactly as recorded: a bar for each bin, from its own lower to its own upper edge. */

import type { HistogramRows } from '../../maths/histogram'
import { toPixel, type Scale } from '../axes'
import type { Pen } from '../pen'

export interface Bar {
  readonly low: number
  readonly high: number
  readonly count: number
}

/** The bars of row t; edges are those that numpy's `histogram` gives for the recorded range. */
export function barsOf(rows: HistogramRows, t: number): Bar[] {
  const { bins } = rows
  const lo = rows.lo[t]!
  const hi = rows.hi[t]!
  return Array.from({ length: bins }, (_, b) => ({
    low: edge(lo, hi, bins, b),
    high: edge(lo, hi, bins, b + 1),
    count: rows.counts[t * bins + b]!,
  }))
}

/** As numpy's linspace: the last edge is the upper end itself. */
function edge(lo: number, hi: number, bins: number, b: number): number {
  return b === bins ? hi : lo + b * ((hi - lo) / bins)
}

/** The largest count of row t. */
export function largestCount(rows: HistogramRows, t: number): number {
  let most = 0
  for (let b = t * rows.bins; b < (t + 1) * rows.bins; b++) most = Math.max(most, rows.counts[b]!)
  return most
}

/** Bars lying on their side: values go up, counts go right. Thin bars never vanish. */
export function drawSideways(
  pen: Pen,
  bars: readonly Bar[],
  values: Scale,
  counts: Scale,
  color: string,
  under: number | null = null,
): void {
  bars.forEach(({ low, high, count }, b) => {
    if (count === 0) return
    // What lies outside of the axis is not drawn; the chart says how much that is.
    const [top, end] = [Math.max(values.to, toPixel(values, high)), Math.min(values.from, toPixel(values, low))]
    if (end < top) return
    const height = Math.max(0.75, end - top)
    const gap = height > 4 ? 0.5 : 0
    const width = Math.max(1, toPixel(counts, count) - counts.from)
    pen.rect(counts.from, top + gap / 2, width, height - gap, color, under === null || under === b ? 1 : 0.55)
  })
}

/** Bars standing up: values go right, counts go up. */
export function drawUpright(
  pen: Pen,
  bars: readonly Bar[],
  values: Scale,
  counts: Scale,
  color: string,
  under: number | null = null,
): void {
  bars.forEach(({ low, high, count }, b) => {
    if (count === 0) return
    const left = toPixel(values, low)
    const width = Math.max(0.75, toPixel(values, high) - left)
    const gap = width > 4 ? 1 : 0
    const top = Math.min(counts.from - 1, toPixel(counts, count))
    pen.rect(left + gap / 2, top, width - gap, counts.from - top, color, under === null || under === b ? 1 : 0.55)
  })
}
