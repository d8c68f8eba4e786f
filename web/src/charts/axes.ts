/** Scales and axes, drawn with any pen. */

import { formatTicks } from '../maths/numbers'
import { niceTicks } from '../maths/ticks'
import type { Ink } from './ink'
import type { Pen } from './pen'

/** A stretch of pixels that stands for a stretch of values. */
export interface Scale {
  readonly low: number
  readonly high: number
  readonly from: number
  readonly to: number
}

export function toPixel({ low, high, from, to }: Scale, v: number): number {
  return high === low ? (from + to) / 2 : from + ((v - low) / (high - low)) * (to - from)
}

export function toValue({ low, high, from, to }: Scale, pixel: number): number {
  return to === from ? low : low + ((pixel - from) / (to - from)) * (high - low)
}

/** A range widened by a part on both sides, and made to have a width where it had none. */
export function padded(low: number, high: number, part = 0.05): { low: number; high: number } {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return { low: -1, high: 1 }
  if (low === high) {
    const half = Math.abs(low) * 0.1 || 0.5
    return { low: low - half, high: high + half }
  }
  const more = (high - low) * part
  return { low: low - more, high: high + more }
}

/** Labels left of an axis of values, with faint lines across. */
export function drawYAxis(
  pen: Pen,
  ink: Ink,
  y: Scale,
  left: number,
  right: number,
  options: { about?: number; grid?: boolean; ticks?: readonly number[]; labels?: readonly string[] } = {},
): void {
  const { about = 4, grid = true } = options
  const ticks = options.ticks ?? niceTicks(y.low, y.high, about)
  const labels = options.labels ?? formatTicks(ticks)
  ticks.forEach((t, i) => {
    const at = Math.round(toPixel(y, t)) + 0.5
    if (grid) pen.line([left, at, right, at], { color: ink.line, alpha: t === 0 ? 1 : 0.6 })
    pen.text(labels[i]!, left - 6, at, { color: ink.soft, align: 'right', base: 'middle', size: 10.5 })
  })
}

/** Labels below an axis; `label` writes a tick. The outer ones are kept inside. */
export function drawXAxis(
  pen: Pen,
  ink: Ink,
  x: Scale,
  bottom: number,
  options: {
    about?: number
    ticks?: readonly number[]
    labels?: readonly string[]
    marks?: boolean
    inside?: boolean
  } = {},
): void {
  const ticks =
    options.ticks ?? niceTicks(x.low, x.high, options.about ?? Math.max(2, Math.floor(Math.abs(x.to - x.from) / 70)))
  const labels = options.labels ?? formatTicks(ticks)
  ticks.forEach((t, i) => {
    const at = toPixel(x, t)
    const align = options.inside === false ? 'center' : at < x.from + 8 ? 'left' : at > x.to - 8 ? 'right' : 'center'
    if (options.marks !== false) pen.line([at, bottom, at, bottom + 3], { color: ink.faint })
    pen.text(labels[i]!, at, bottom + 5, { color: ink.soft, align, base: 'top', size: 10.5 })
  })
}
