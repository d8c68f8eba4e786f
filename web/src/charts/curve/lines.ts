/** Lines of a chart: smoothing, ranges, thinning to pixels, finding a point. Pure. */
import { indexAtOrBefore, indexNearest } from '../../maths/search'

/** One run's line. `y` is what is drawn; `raw` lies faint behind it where `y` was smoothed. */
export interface Line {
  id: string
  label: string
  colour: string
  /** Drawn stronger and on top: the run that is looked at. */
  main: boolean
  /** One of many behind a line that stands for them. */
  thin?: boolean
  x: Float64Array
  /** x never decreases. False where x is a metric. */
  sorted: boolean
  y: Float64Array
  raw: Float64Array | null
  /** Around `y`, of a group's line. */
  band?: { low: Float64Array; high: Float64Array }
}

export type Range = readonly [number, number]

/**
 * A running mean that forgets: each point weighs `weight` times less for every `unit` of x that has passed, and the
 * start is not pulled towards zero. Points that are not finite stay as they are and count for nothing.
 */
export function smooth(x: ArrayLike<number>, y: Float64Array, weight: number, unit: number): Float64Array {
  const out = new Float64Array(y.length)
  let sum = 0
  let mass = 0
  let before = Number.NaN
  for (let i = 0; i < y.length; i++) {
    const v = y[i]!
    if (!Number.isFinite(v)) {
      out[i] = v
      continue
    }
    const passed = Number.isNaN(before) ? 1 : Math.max(0, (x[i]! - before) / unit)
    const keep = weight ** passed
    // Two points at one x: the second counts as much as one that came a unit later, or it would count for nothing.
    const fresh = passed > 0 ? 1 - keep : 1 - weight
    sum = sum * keep + v * fresh
    mass = mass * keep + fresh
    out[i] = sum / mass
    before = x[i]!
  }
  return out
}

/** The x of one point in smoothing: the usual distance of points, no finer than a thousandth of the whole. */
export function smoothingUnit(x: ArrayLike<number>, recorded: number): number {
  const n = x.length
  if (n < 2) return 1
  const range = x[n - 1]! - x[0]!
  return range > 0 ? range / (Math.min(Math.max(recorded, 2), 1000) - 1) : 1
}

/** Smallest and largest x of the lines. */
export function xRange(lines: readonly Line[], log: boolean): Range | null {
  let low = Infinity
  let high = -Infinity
  for (const { x } of lines) {
    for (let i = 0; i < x.length; i++) {
      const v = x[i]!
      if (!Number.isFinite(v) || (log && v <= 0)) continue
      if (v < low) low = v
      if (v > high) high = v
    }
  }
  if (low > high) return null
  return low === high ? (log ? [low / 2, high * 2] : [low - 0.5, high + 0.5]) : [low, high]
}

/**
 * A range moved by a part of its width and stretched around a place in it (0 left, 1 right), never further than
 * `limit`: moving stops at its ends, stretching ends at the whole.
 */
export function moved(range: Range, limit: Range, by: number, stretch: number, around: number, log: boolean): Range {
  const to = log ? Math.log : (v: number) => v
  const back = log ? Math.exp : (v: number) => v
  const [a, b] = [to(range[0]), to(range[1])]
  const [low, high] = [to(limit[0]), to(limit[1])]
  const width = Math.min((b - a) * stretch, high - low)
  const start = a + (b - a) * around - width * around + (b - a) * by
  const from = Math.min(high - width, Math.max(low, start))
  return [back(from), back(from + width)]
}

/** First and one past the last point that a line needs in view: a neighbour on each side where it comes in or leaves. */
function inView(x: Float64Array, from: number, to: number): [number, number] {
  if (x.length === 0 || x[0]! > to || x[x.length - 1]! < from) return [0, 0]
  return [Math.max(0, indexAtOrBefore(x, from)), Math.min(x.length, indexAtOrBefore(x, to) + 2)]
}

/** Range of y over the points in view, a little wider; `core` leaves out the outermost hundredths. */
export function yRange(lines: readonly Line[], [from, to]: Range, log: boolean, core: boolean): Range {
  const values: number[] = []
  let low = Infinity
  let high = -Infinity
  for (const { x, y, raw, band, sorted } of lines) {
    const [start, end] = sorted ? inView(x, from, to) : [0, x.length]
    for (const series of [y, raw, band?.low, band?.high]) {
      if (!series) continue
      for (let i = start; i < end; i++) {
        const v = series[i]!
        if (!Number.isFinite(v) || (log && v <= 0)) continue
        if (v < low) low = v
        if (v > high) high = v
        if (core) values.push(v)
      }
    }
  }
  if (low > high) return log ? [0.1, 1] : [0, 1]
  if (core && values.length > 20) {
    const sorted = Float64Array.from(values).sort()
    low = sorted[Math.floor(0.02 * (sorted.length - 1))]!
    high = sorted[Math.ceil(0.98 * (sorted.length - 1))]!
  }
  if (log) {
    if (low === high) return [low / 2, high * 2]
    const pad = (high / low) ** 0.05
    return [low / pad, high * pad]
  }
  if (low === high) {
    const pad = Math.abs(low) * 0.1 || 0.5
    return [low - pad, high + pad]
  }
  const pad = (high - low) * 0.05
  return [low - pad, high + pad]
}

/**
 * Points of a path in pixels, x0 y0 x1 y1 ..., NaN where the line breaks. Where several points share a pixel column
 * only its first, lowest, highest and last are kept: nothing that would be seen is lost.
 */
export function pathPoints(
  { x, sorted }: Pick<Line, 'x' | 'sorted'>,
  y: Float64Array,
  [from, to]: Range,
  px: (v: number) => number,
  py: (v: number) => number,
  log = false,
): number[] {
  const [start, end] = sorted ? inView(x, from, to) : [0, x.length]
  const out: number[] = []
  const dense = sorted && end - start > 4000
  let column = Number.NaN
  let first = 0
  let low = 0
  let high = 0
  let last = 0
  const flush = () => {
    if (Number.isNaN(column)) return
    out.push(column, first)
    if (low !== first || high !== last) out.push(column, low, column, high)
    if (last !== first) out.push(column, last)
    column = Number.NaN
  }
  for (let i = start; i < end; i++) {
    const v = y[i]!
    if (!Number.isFinite(v) || (log && v <= 0) || !Number.isFinite(x[i])) {
      flush()
      out.push(Number.NaN, Number.NaN)
      continue
    }
    const b = py(v)
    if (!dense) {
      out.push(px(x[i]!), b)
      continue
    }
    const a = Math.round(px(x[i]!) * 2) / 2
    if (a !== column) {
      flush()
      column = a
      first = low = high = last = b
    } else {
      low = Math.min(low, b)
      high = Math.max(high, b)
      last = b
    }
  }
  flush()
  return out
}

/** Index of the line's point nearest to `at` in x; -1 when there is none. */
export function nearestPoint({ x, sorted }: Pick<Line, 'x' | 'sorted'>, at: number): number {
  if (sorted) return indexNearest(x, at)
  let best = -1
  for (let i = 0; i < x.length; i++) {
    if (best < 0 || Math.abs(x[i]! - at) < Math.abs(x[best]! - at)) best = i
  }
  return best
}
