/**
 * Histograms over time, drawn true: each row keeps its own edges, and a picture of many rows shares out each bin's
 * count over the cells it overlaps by area, so that the values in a column always add up to what was counted.
 */

/** T histograms of the same tensor; row t has `bins` equal bins from lo[t] to hi[t]. */
export interface HistogramRows {
  readonly counts: ArrayLike<number>
  readonly bins: number
  readonly lo: ArrayLike<number>
  readonly hi: ArrayLike<number>
}

/** How many finite values lie in each of `bins` equal bins between the least and the greatest, as numpy counts them. */
export function countIn(values: ArrayLike<number>, bins: number): { counts: Uint32Array; lo: number; hi: number } {
  let [lo, hi] = [Infinity, -Infinity]
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!
    if (!Number.isFinite(v)) continue
    lo = Math.min(lo, v)
    hi = Math.max(hi, v)
  }
  if (lo > hi) [lo, hi] = [0, 1]
  else if (lo === hi) [lo, hi] = [lo - 0.5, hi + 0.5]
  const counts = new Uint32Array(bins)
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!
    if (Number.isFinite(v)) counts[Math.min(bins - 1, Math.floor(((v - lo) / (hi - lo)) * bins))]! += 1
  }
  return { counts, lo, hi }
}

/** Adds row `t`, times `weight`, to `out.length` equal cells from `low` to `high`; what lies outside is left out. */
export function shareOut(
  rows: HistogramRows,
  t: number,
  low: number,
  high: number,
  out: Float64Array | Float32Array,
  weight = 1,
): void {
  const cells = out.length
  const lo = rows.lo[t]!
  const binWidth = (rows.hi[t]! - lo) / rows.bins
  const perCell = cells / (high - low)
  if (!Number.isFinite(lo) || !Number.isFinite(binWidth) || !(high > low)) return
  for (let b = 0; b < rows.bins; b++) {
    const count = rows.counts[t * rows.bins + b]! * weight
    if (count === 0) continue
    const from = (lo + b * binWidth - low) * perCell
    const to = (lo + (b + 1) * binWidth - low) * perCell
    const first = Math.floor(from)
    if (to - from < 1e-12 || Math.floor(to) === first) {
      if (first >= 0 && first < cells) out[first]! += count
      continue
    }
    const density = count / (to - from)
    const start = Math.max(0, first)
    const end = Math.min(cells - 1, Math.ceil(to) - 1)
    for (let c = start; c <= end; c++) out[c]! += density * (Math.min(to, c + 1) - Math.max(from, c))
  }
}

/** As `shareOut`, over cells of any widths; `edges` are one more than the cells, growing. */
export function shareOutEdges(
  rows: HistogramRows,
  t: number,
  edges: Float64Array,
  out: Float64Array | Float32Array,
  weight = 1,
): void {
  const cells = edges.length - 1
  const lo = rows.lo[t]!
  const width = (rows.hi[t]! - lo) / rows.bins
  if (!Number.isFinite(lo) || !(width > 0)) return
  let c = 0
  for (let b = 0; b < rows.bins; b++) {
    const count = rows.counts[t * rows.bins + b]! * weight
    const from = lo + b * width
    const to = from + width
    while (c < cells && edges[c + 1]! <= from) c++
    if (count === 0) continue
    for (let k = c; k < cells && edges[k]! < to; k++) {
      const part = Math.min(to, edges[k + 1]!) - Math.max(from, edges[k]!)
      if (part > 0) out[k]! += (count * part) / width
    }
  }
}

/** How many values of row `t` lie at or below `x`, bins taken as evenly filled. */
export function countBelow(rows: HistogramRows, t: number, x: number): number {
  const lo = rows.lo[t]!
  const width = (rows.hi[t]! - lo) / rows.bins
  const at = (x - lo) / width
  let sum = 0
  for (let b = 0; b < rows.bins; b++) {
    const part = Math.max(0, Math.min(1, at - b))
    if (part === 0) break
    sum += rows.counts[t * rows.bins + b]! * part
  }
  return sum
}

/** All counts of row `t` together. */
export function rowTotal(rows: HistogramRows, t: number): number {
  let sum = 0
  for (let b = t * rows.bins; b < (t + 1) * rows.bins; b++) sum += rows.counts[b]!
  return sum
}

/** The value below which a part `q` (0 to 1) of row `t` lies, bins taken as evenly filled; NaN for an empty row. */
export function quantile(rows: HistogramRows, t: number, q: number): number {
  const total = rowTotal(rows, t)
  if (total === 0) return Number.NaN
  const lo = rows.lo[t]!
  const width = (rows.hi[t]! - lo) / rows.bins
  const wanted = Math.max(0, Math.min(1, q)) * total
  let sum = 0
  let last = 0
  for (let b = 0; b < rows.bins; b++) {
    const count = rows.counts[t * rows.bins + b]!
    if (count === 0) continue
    if (sum + count >= wanted) return lo + (b + (wanted - sum) / count) * width
    sum += count
    last = b + 1
  }
  return lo + last * width
}

/** The parts drawn as percentile bands, low to high; the middle one is the median. */
export const BAND_PARTS: readonly number[] = [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]

/** The bands of rows [0, T): one Float64Array of T values for each of `parts`. */
export function percentileBands(
  rows: HistogramRows,
  total: number,
  parts: readonly number[] = BAND_PARTS,
): Float64Array[] {
  return parts.map((q) => Float64Array.from({ length: total }, (_, t) => quantile(rows, t, q)))
}

/** The range that all rows together need, from their outermost bins that hold anything; null when all are empty. */
export function occupiedRange(rows: HistogramRows, total: number): { low: number; high: number } | null {
  let low = Infinity
  let high = -Infinity
  for (let t = 0; t < total; t++) {
    const lo = rows.lo[t]!
    const width = (rows.hi[t]! - lo) / rows.bins
    if (!Number.isFinite(lo) || !Number.isFinite(width)) continue
    for (let b = 0; b < rows.bins; b++) {
      if (rows.counts[t * rows.bins + b]! === 0) continue
      low = Math.min(low, lo + b * width)
      break
    }
    for (let b = rows.bins - 1; b >= 0; b--) {
      if (rows.counts[t * rows.bins + b]! === 0) continue
      high = Math.max(high, lo + (b + 1) * width)
      break
    }
  }
  return low < high ? { low, high } : null
}

/** A range that leaves tails out is only worth it when the whole one is this many times wider. */
const WORTH_TRIMMING = 6

/**
 * The range to draw: all of it, unless a few far values would press everything else into a line. Then it is the one
 * that holds the middle 99 % of nearly all rows; `outside` says which part of all values it leaves out.
 */
export function drawnRange(
  rows: HistogramRows,
  total: number,
  whole: boolean,
): { low: number; high: number; outside: number } | null {
  const full = occupiedRange(rows, total)
  if (!full) return null
  if (whole) return { ...full, outside: 0 }
  const every = Math.max(1, Math.floor(total / 400))
  const lows: number[] = []
  const highs: number[] = []
  for (let t = 0; t < total; t += every) {
    const low = quantile(rows, t, 0.005)
    if (Number.isNaN(low)) continue
    lows.push(low)
    highs.push(quantile(rows, t, 0.995))
  }
  const at = (list: number[], part: number) => list.sort((a, b) => a - b)[Math.round(part * (list.length - 1))]!
  const low = at(lows, 0.04)
  const high = at(highs, 0.96)
  if (!(high > low) || full.high - full.low < WORTH_TRIMMING * (high - low)) return { ...full, outside: 0 }
  let out = 0
  let all = 0
  for (let t = 0; t < total; t++) {
    const n = rowTotal(rows, t)
    all += n
    out += countBelow(rows, t, low) + n - countBelow(rows, t, high)
  }
  return { low, high, outside: all ? out / all : 0 }
}

/** A picture of histograms over time: `cells[y * columns + x]` values per cell, y from the lowest value up. */
export interface HistogramImage {
  readonly columns: number
  readonly rows: number
  readonly cells: Float32Array
  readonly low: number
  readonly high: number
  readonly largest: number
}

/**
 * Draws rows over time as an image. Row t covers [xs[t], xs[t + 1]) of the axis from `x0` to `x1`, the last one to
 * the end; a column that several rows share holds their mean, weighted by how much of the column each covers.
 * `edges` are those of the cells up the axis of values where they are not equally high.
 */
export function histogramImage(
  rows: HistogramRows,
  xs: ArrayLike<number>,
  axis: { x0: number; x1: number; low: number; high: number },
  size: { columns: number; rows: number },
  edges: Float64Array | null = null,
): HistogramImage {
  const { columns, rows: height } = size
  const cells = new Float32Array(columns * height)
  const column = new Float64Array(height)
  const scale = columns / (axis.x1 - axis.x0 || 1)
  const starts = Float64Array.from({ length: xs.length }, (_, t) =>
    Math.min(columns, Math.max(0, (xs[t]! - axis.x0) * scale)),
  )
  let largest = 0
  let t = 0
  for (let x = 0; x < columns; x++) {
    while (t + 1 < starts.length && starts[t + 1]! <= x) t++
    column.fill(0)
    let covered = 0
    for (let k = t; k < starts.length && starts[k]! < x + 1; k++) {
      const end = k + 1 < starts.length ? starts[k + 1]! : columns
      const part = Math.min(x + 1, end) - Math.max(x, starts[k]!)
      if (part <= 0) continue
      covered += part
      if (edges) shareOutEdges(rows, k, edges, column, part)
      else shareOut(rows, k, axis.low, axis.high, column, part)
    }
    if (covered === 0) continue
    for (let y = 0; y < height; y++) {
      const v = column[y]! / covered
      cells[y * columns + x] = v
      if (v > largest) largest = v
    }
  }
  return { columns, rows: height, cells, low: axis.low, high: axis.high, largest }
}

/** How strongly a cell is drawn, 0 to 1: in proportion to its count, or to the logarithm of one more than it. */
export function strength(count: number, largest: number, log: boolean): number {
  if (!(count > 0) || !(largest > 0)) return 0
  return Math.min(1, log ? Math.log1p(count) / Math.log1p(largest) : count / largest)
}
