/**
 * An axis for values of both signs over many powers of ten: linear near zero, logarithmic beyond a threshold, and
 * smooth in between, so that gradients that fade from 1 to 1e-6 stay readable.
 */

import { quantile, type HistogramRows } from './histogram'

/** The place of a value; `threshold` is about where the logarithm begins. */
export function symlog(v: number, threshold: number): number {
  return Math.sign(v) * Math.log1p(Math.abs(v) / threshold)
}

/** The value at a place. */
export function unsymlog(place: number, threshold: number): number {
  return Math.sign(place) * threshold * Math.expm1(Math.abs(place))
}

/** Zero and powers of ten of both signs inside [low, high], thinned to about as many as asked. */
export function symlogTicks(low: number, high: number, threshold: number, about = 5): number[] {
  const most = Math.max(Math.abs(low), Math.abs(high))
  if (!(most > 0) || !(threshold > 0)) return [0]
  const last = Math.floor(Math.log10(most) + 1e-9)
  const first = Math.min(last, Math.ceil(Math.log10(threshold) + 0.3))
  const sides = low < 0 && high > 0 ? 2 : 1
  const every = Math.max(1, Math.ceil(((last - first + 1) * sides) / Math.max(1, about - 1)))
  const ticks: number[] = low <= 0 && high >= 0 ? [0] : []
  for (let e = last; e >= first; e -= every) {
    const tick = Number(`1e${e}`)
    if (tick <= high && tick >= low) ticks.push(tick)
    if (-tick >= low && -tick <= high) ticks.push(-tick)
  }
  return ticks.sort((a, b) => a - b)
}

/** The narrowest that rows commonly are, so that even they fill some of the axis. */
export function thresholdOf(rows: HistogramRows, total: number): number {
  const widths: number[] = []
  const every = Math.max(1, Math.floor(total / 200))
  for (let t = 0; t < total; t += every) {
    const width = quantile(rows, t, 0.9) - quantile(rows, t, 0.1)
    if (width > 0) widths.push(width)
  }
  widths.sort((a, b) => a - b)
  return (widths[Math.floor(widths.length * 0.1)] ?? 1) / 8 || 1
}
