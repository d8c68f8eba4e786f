/** Scales and axes, drawn with any pen. */

import { formatTicks, formatValue } from '../maths/numbers'
import { symlog, symlogTicks, unsymlog } from '../maths/symlog'
import { niceTicks } from '../maths/ticks'
import type { Ink } from './ink'
import type { Pen } from './pen'

/** A stretch of pixels that stands for a stretch of values. */
export interface Scale {
  readonly low: number
  readonly high: number
  readonly from: number
  readonly to: number
  /** Where the logarithm begins on an axis that is one for both signs. */
  readonly symlog?: number | undefined
}

export function toPixel({ low, high, from, to, symlog: c }: Scale, v: number): number {
  if (high === low) return (from + to) / 2
  if (c) return from + ((symlog(v, c) - symlog(low, c)) / (symlog(high, c) - symlog(low, c))) * (to - from)
  return from + ((v - low) / (high - low)) * (to - from)
}

export function toValue({ low, high, from, to, symlog: c }: Scale, pixel: number): number {
  if (to === from) return low
  const part = (pixel - from) / (to - from)
  if (c) return unsymlog(symlog(low, c) + part * (symlog(high, c) - symlog(low, c)), c)
  return low + part * (high - low)
}

/** Ticks and labels of a scale, round numbers or powers of ten. */
export function ticksOf(scale: Scale, about: number): { ticks: number[]; labels: string[] } {
  if (scale.symlog) {
    const ticks = symlogTicks(scale.low, scale.high, scale.symlog, about)
    return { ticks, labels: ticks.map((t) => formatValue(t, 1)) }
  }
  const ticks = niceTicks(scale.low, scale.high, about)
  return { ticks, labels: formatTicks(ticks) }
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
  const round = ticksOf(y, about)
  const ticks = options.ticks ?? round.ticks
  const labels = options.labels ?? (options.ticks ? formatTicks(ticks) : round.labels)
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
  const round = ticksOf(x, options.about ?? Math.max(2, Math.floor(Math.abs(x.to - x.from) / 70)))
  const ticks = options.ticks ?? round.ticks
  const labels = options.labels ?? (options.ticks ? formatTicks(ticks) : round.labels)
  ticks.forEach((t, i) => {
    const at = toPixel(x, t)
    const align = options.inside === false ? 'center' : at < x.from + 8 ? 'left' : at > x.to - 8 ? 'right' : 'center'
    if (options.marks !== false) pen.line([at, bottom, at, bottom + 3], { color: ink.faint })
    pen.text(labels[i]!, at, bottom + 5, { color: ink.soft, align, base: 'top', size: 10.5 })
  })
}
