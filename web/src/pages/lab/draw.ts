/** The charts of a lab, drawn with any pen. Pure. */
import { drawXAxis, drawYAxis, padded, ticksOf, toPixel, type Scale } from '../../charts/axes'
import type { Ink } from '../../charts/ink'
import type { Pen } from '../../charts/pen'
import type { TrialCurve } from '../../wire/labs'
import { labelsOn, roundLabelsOn, type Axis } from './trials'

const [LEFT, RIGHT, TOP, BOTTOM] = [48, 12, 8, 22]

/** The curve of one trial as a chart draws it; dashed is of what was trained on. */
export interface DrawnCurve {
  curve: TrialCurve
  colour: string
  dashed: boolean
  strong: boolean
}

export interface Frame {
  x: Scale
  y: Scale
}

export function curveFrame(curves: readonly DrawnCurve[], width: number, height: number): Frame {
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity]
  for (const { curve } of curves) {
    for (let i = 0; i < curve.values.length; i++) {
      const v = curve.values[i]!
      if (!Number.isFinite(v)) continue
      x0 = Math.min(x0, curve.epochs[i]!)
      x1 = Math.max(x1, curve.epochs[i]!)
      y0 = Math.min(y0, v)
      y1 = Math.max(y1, v)
    }
  }
  const xs = x0 > x1 ? { low: 0, high: 1 } : x0 === x1 ? { low: x0 - 0.5, high: x1 + 0.5 } : { low: x0, high: x1 }
  return {
    x: { ...xs, from: LEFT, to: width - RIGHT },
    y: { ...padded(y0, y1, 0.04), from: height - BOTTOM, to: TOP },
  }
}

export function linePoints({ epochs, values }: TrialCurve, { x, y }: Frame): Float64Array {
  const points = new Float64Array(2 * values.length)
  for (let i = 0; i < values.length; i++) {
    points[2 * i] = toPixel(x, epochs[i]!)
    points[2 * i + 1] = Number.isFinite(values[i]!) ? toPixel(y, values[i]!) : NaN
  }
  return points
}

export function drawCurves(pen: Pen, ink: Ink, curves: readonly DrawnCurve[], frame: Frame): void {
  drawYAxis(pen, ink, frame.y, LEFT, frame.x.to, { about: 5 })
  const whole = ticksOf(frame.x, Math.max(2, Math.floor((frame.x.to - frame.x.from) / 70))).ticks.filter(
    Number.isInteger,
  )
  drawXAxis(pen, ink, frame.x, frame.y.from, { ticks: whole })
  const alpha = curves.length > 400 ? 0.25 : curves.length > 100 ? 0.45 : 0.85
  for (const strong of [false, true]) {
    for (const one of curves) {
      if (one.strong !== strong) continue
      const points = linePoints(one.curve, frame)
      const stroke = { color: one.colour, width: strong ? 2 : 1.1, alpha: strong ? 1 : alpha }
      if (one.curve.values.length === 1) pen.dots(points, 2, one.colour)
      else pen.line(points, one.dashed ? { ...stroke, dash: [4, 3] } : stroke)
    }
  }
}

/** Lets all that is drawn step back, so that one thing drawn over it is seen among thousands. */
export function veil(pen: Pen, ink: Ink, { x, y }: Frame): void {
  pen.rect(x.from + 1, y.to, x.to - x.from - 1, y.from - y.to, ink.panel, 0.62)
}

/** The curve whose line is nearest to a place, within some pixels. */
export function curveAt(curves: readonly DrawnCurve[], frame: Frame, at: { x: number; y: number }): DrawnCurve | null {
  let [best, least] = [null as DrawnCurve | null, 14]
  for (const one of curves) {
    const { epochs, values } = one.curve
    let low = 0
    let high = epochs.length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (toPixel(frame.x, epochs[middle]!) < at.x) low = middle + 1
      else high = middle
    }
    for (const i of [low - 1, low]) {
      const j = Math.min(i + 1, values.length - 1)
      if (i < 0 || i >= values.length) continue
      const [xa, xb] = [toPixel(frame.x, epochs[i]!), toPixel(frame.x, epochs[j]!)]
      if (at.x < xa - 8 || at.x > xb + 8) continue
      const part = xb > xa ? Math.min(1, Math.max(0, (at.x - xa) / (xb - xa))) : 0
      const y = toPixel(frame.y, values[i]! + part * (values[j]! - values[i]!))
      const far = Math.abs(y - at.y)
      if (far < least) [best, least] = [one, far]
    }
  }
  return best
}

export interface Bar {
  trial: number
  colour: string
  value: number
}

export function barFrame(bars: readonly Bar[], width: number, height: number, zero: boolean): Frame {
  const finite = bars.map((bar) => bar.value).filter(Number.isFinite)
  const [low, high] = [Math.min(...finite), Math.max(...finite)]
  const ys = !finite.length
    ? { low: 0, high: 1 }
    : zero
      ? { low: Math.min(0, low), high: Math.max(0, high) * 1.04 || 1 }
      : { ...padded(low, high, 0.12) }
  return {
    x: { low: 0, high: Math.max(1, bars.length), from: LEFT, to: width - RIGHT },
    y: { ...ys, from: height - 10, to: TOP },
  }
}

export function drawBars(pen: Pen, ink: Ink, bars: readonly Bar[], frame: Frame): void {
  drawYAxis(pen, ink, frame.y, LEFT, frame.x.to, { about: 4 })
  const step = (frame.x.to - frame.x.from) / Math.max(1, bars.length)
  const gap = step > 6 ? Math.min(6, step * 0.2) : 0
  const foot = toPixel(frame.y, Math.max(frame.y.low, Math.min(0, frame.y.high)))
  bars.forEach((bar, i) => {
    const x = frame.x.from + i * step + gap / 2
    if (!Number.isFinite(bar.value)) {
      pen.text('–', x + (step - gap) / 2, foot - 4, { color: ink.faint, align: 'center', size: 10 })
      return
    }
    const y = toPixel(frame.y, bar.value)
    pen.rect(x, Math.min(y, foot), Math.max(1, step - gap), Math.max(1, Math.abs(foot - y)), bar.colour, 0.9)
  })
}

/** Which of the bars lies at a place; -1 where there is none. */
export function barAt(count: number, frame: Frame, x: number): number {
  const i = Math.floor(((x - frame.x.from) / (frame.x.to - frame.x.from)) * count)
  return i >= 0 && i < count ? i : -1
}

const [AXIS_TOP, AXIS_BOTTOM, AXIS_SIDE] = [44, 14, 56]
/** Axes that stand closer than this cannot be told from each other. */
export const AXIS_LEAST = 50
/** Of letters of names and of labels. */
const [NAME_LETTER, LABEL_LETTER] = [6.9, 5.4]

export const axisX = (k: number, count: number, width: number): number =>
  count < 2 ? width / 2 : AXIS_SIDE + (k * (width - 2 * AXIS_SIDE)) / (count - 1)
export const axisY = (place: number, height: number): number =>
  height - AXIS_BOTTOM - place * (height - AXIS_TOP - AXIS_BOTTOM)
export const placeAtY = (y: number, height: number): number =>
  Math.min(1, Math.max(0, (height - AXIS_BOTTOM - y) / (height - AXIS_TOP - AXIS_BOTTOM)))

/** Where the lines lie. */
export const parallelFrame = (width: number, height: number): Frame => ({
  x: { low: 0, high: 1, from: AXIS_SIDE, to: width - AXIS_SIDE },
  y: { low: 0, high: 1, from: height - AXIS_BOTTOM, to: AXIS_TOP },
})

export interface Strand {
  trial: number
  colour: string
  places: readonly number[]
  shown: boolean
}

export function strandPoints({ places }: Strand, width: number, height: number): number[] {
  return places.flatMap((place, k) => [axisX(k, places.length, width), axisY(place, height)])
}

function shorten(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text
}

/** Parallel coordinates: an axis for each column, a line for each trial. */
export function drawParallel(
  pen: Pen,
  ink: Ink,
  axes: readonly Axis[],
  strands: readonly Strand[],
  width: number,
  height: number,
): void {
  for (const strand of strands) {
    if (!strand.shown) pen.line(strandPoints(strand, width, height), { color: ink.line, width: 1, alpha: 0.7 })
  }
  const count = strands.filter((s) => s.shown).length
  const alpha = count > 300 ? 0.3 : count > 80 ? 0.5 : 0.85
  for (const strand of strands) {
    if (strand.shown) pen.line(strandPoints(strand, width, height), { color: strand.colour, width: 1.2, alpha })
  }
  const apart = (width - 2 * AXIS_SIDE) / Math.max(1, axes.length - 1)
  // Names that would touch each other stand in two rows.
  const staggered = axes.some((axis) => axis.title.length * NAME_LETTER > apart - 6)
  const letters = Math.max(6, Math.floor(((staggered ? 2 : 1) * apart - 6) / NAME_LETTER))
  axes.forEach((axis, k) => {
    const x = axisX(k, axes.length, width)
    pen.line([x, axisY(0, height), x, axisY(1, height)], { color: ink.soft, width: 1 })
    const row = staggered && k % 2 ? 14 : 30
    pen.text(shorten(axis.title, letters), x, row, { color: ink.ink, size: 11.5, weight: 550, align: 'center' })
    if (row === 14) pen.line([x, 19, x, 33], { color: ink.line })
    const labels = labelsOn(axis, 2)
    const few = labels.length > 9 ? labels.filter((_, i) => i % Math.ceil(labels.length / 9) === 0) : labels
    for (const [place, text] of few) {
      const y = axisY(place, height)
      pen.line([x - 3, y, x + 3, y], { color: ink.soft })
      const said = shorten(text, Math.max(4, Math.min(16, Math.floor((apart - 8) / LABEL_LETTER))))
      pen.rect(x + 5, y - 7, said.length * LABEL_LETTER + 4, 14, ink.panel, 0.75)
      pen.text(said, x + 7, y, { color: ink.soft, size: 10.5, base: 'middle' })
    }
  })
}

/** The trial whose line is nearest to a place. */
export function strandAt(strands: readonly Strand[], at: { x: number; y: number }, width: number, height: number) {
  let [best, least] = [null as Strand | null, 10]
  for (const strand of strands) {
    if (!strand.shown) continue
    const points = strandPoints(strand, width, height)
    for (let k = 0; k + 3 < points.length; k += 2) {
      const [xa, ya, xb, yb] = points.slice(k, k + 4) as [number, number, number, number]
      if (at.x < xa || at.x > xb) continue
      const far = Math.abs(ya + ((at.x - xa) / (xb - xa)) * (yb - ya) - at.y)
      if (far < least) [best, least] = [strand, far]
    }
  }
  return best
}

export interface Spot {
  trial: number
  colour: string
  x: number
  y: number
}

export function scatterFrame(width: number, height: number): Frame {
  return {
    x: { low: -0.04, high: 1.04, from: LEFT + 20, to: width - RIGHT },
    y: { low: -0.06, high: 1.06, from: height - 26, to: TOP },
  }
}

export function drawScatter(
  pen: Pen,
  ink: Ink,
  spots: readonly Spot[],
  axes: { x: Axis; y: Axis },
  width: number,
  height: number,
): void {
  const frame = scatterFrame(width, height)
  for (const [place, text] of roundLabelsOn(axes.y, 4)) {
    const y = toPixel(frame.y, place)
    pen.line([frame.x.from, y, frame.x.to, y], { color: ink.line, alpha: 0.6 })
    pen.text(shorten(text, 11), frame.x.from - 6, y, { color: ink.soft, align: 'right', base: 'middle', size: 10.5 })
  }
  for (const [place, text] of roundLabelsOn(axes.x, 4)) {
    pen.text(shorten(text, 14), toPixel(frame.x, place), frame.y.from + 6, {
      color: ink.soft,
      align: 'center',
      base: 'top',
      size: 10.5,
    })
  }
  for (const spot of spots) {
    pen.dots([toPixel(frame.x, spot.x), toPixel(frame.y, spot.y)], spots.length > 300 ? 2.5 : 4, spot.colour)
  }
}

export function spotAt(
  spots: readonly Spot[],
  at: { x: number; y: number },
  width: number,
  height: number,
): Spot | null {
  const frame = scatterFrame(width, height)
  let [best, least] = [null as Spot | null, 12]
  for (const spot of spots) {
    const far = Math.hypot(toPixel(frame.x, spot.x) - at.x, toPixel(frame.y, spot.y) - at.y)
    if (far < least) [best, least] = [spot, far]
  }
  return best
}

/** One difference with its interval; `low` and `high` are null where repeats do not allow any. */
export interface Interval {
  label: string
  estimate: number | null
  low: number | null
  high: number | null
  clear: boolean
}

export const INTERVAL_ROW = 26

/** Differences with their intervals, one below the other, over a common axis with a line at zero. */
export function drawIntervals(
  pen: Pen,
  ink: Ink & { good: string },
  rows: readonly Interval[],
  scale: { factor: number; unit: string },
  width: number,
  height: number,
): void {
  const from = Math.min(280, width * 0.45)
  const values = rows.flatMap((r) => [r.estimate ?? 0, r.low ?? 0, r.high ?? 0]).map((v) => v * scale.factor)
  const x: Scale = { ...padded(Math.min(0, ...values), Math.max(0, ...values), 0.06), from, to: width - RIGHT }
  drawXAxis(pen, ink, x, height - 22)
  pen.line([toPixel(x, 0), 4, toPixel(x, 0), height - 22], { color: ink.faint })
  pen.text(scale.unit, x.to, height - 34, { color: ink.faint, align: 'right', size: 10.5 })
  rows.forEach((row, i) => {
    const y = 4 + (i + 0.5) * INTERVAL_ROW
    pen.text(shorten(row.label, Math.floor(from / 6.2)), from - 10, y, {
      color: ink.ink,
      align: 'right',
      base: 'middle',
      size: 11.5,
    })
    if (row.estimate === null) {
      pen.text('–', toPixel(x, 0) + 8, y, { color: ink.faint, base: 'middle', size: 11 })
      return
    }
    const color = row.clear ? ink.good : ink.soft
    if (row.low !== null && row.high !== null) {
      const [a, b] = [toPixel(x, row.low * scale.factor), toPixel(x, row.high * scale.factor)]
      pen.line([a, y, b, y], { color, width: 2 })
      for (const end of [a, b]) pen.line([end, y - 4, end, y + 4], { color, width: 2 })
    }
    pen.dots([toPixel(x, row.estimate * scale.factor), y], 4, row.low === null ? ink.faint : color)
  })
}

/** A part of a whole. */
export interface Part {
  name: string
  share: number
  /** Of the bar. */
  width: number
  colour: string
}

export const SHARES_ROW = 20

/** Parts of a whole as one bar, and below it what each is called and how much it has. */
export function drawShares(pen: Pen, ink: Ink, parts: readonly Part[], width: number): void {
  let x = 0
  for (const part of parts) {
    pen.rect(x, 0, part.width * width, 18, part.colour)
    x += part.width * width
  }
  parts.forEach((part, i) => {
    const y = 30 + (i + 0.5) * SHARES_ROW
    pen.rect(0, y - 5, 10, 10, part.colour)
    pen.text(part.name, 18, y, { color: ink.ink, base: 'middle', size: 12 })
    pen.text(`${(part.share * 100).toFixed(1)} %`, width, y, {
      color: ink.soft,
      base: 'middle',
      align: 'right',
      size: 12,
    })
  })
}
