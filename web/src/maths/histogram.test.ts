import { describe, expect, it } from 'vitest'
import {
  countBelow,
  countIn,
  drawnRange,
  histogramImage,
  occupiedRange,
  percentileBands,
  quantile,
  rowTotal,
  shareOut,
  strength,
  type HistogramRows,
} from './histogram'

const two: HistogramRows = { bins: 4, counts: [1, 3, 0, 4, 8, 0, 0, 0], lo: [0, -1], hi: [4, 1] }
const sum = (a: ArrayLike<number>) => Array.from(a).reduce((x, y) => x + y, 0)

/** Independent of the shared code: many evenly spread points in each bin, counted one by one. */
function byPoints(rows: HistogramRows, t: number, low: number, high: number, cells: number): number[] {
  const out = new Array<number>(cells).fill(0)
  const n = 4000
  for (let b = 0; b < rows.bins; b++) {
    const width = (rows.hi[t]! - rows.lo[t]!) / rows.bins
    for (let i = 0; i < n; i++) {
      const v = rows.lo[t]! + (b + (i + 0.5) / n) * width
      const c = Math.floor(((v - low) / (high - low)) * cells)
      if (c >= 0 && c < cells) out[c]! += rows.counts[t * rows.bins + b]! / n
    }
  }
  return out
}

describe('sharing a histogram out over cells', () => {
  it('is exact where cells are bins', () => {
    const out = new Float64Array(4)
    shareOut(two, 0, 0, 4, out)
    expect([...out]).toEqual([1, 3, 0, 4])
  })

  it('agrees with counting points, for finer, coarser and shifted cells', () => {
    for (const [low, high, cells] of [
      [0, 4, 7],
      [-1, 5, 3],
      [0.3, 2.9, 11],
      [-10, 10, 200],
      [1.1, 1.4, 5],
    ] as const) {
      const out = new Float64Array(cells)
      shareOut(two, 0, low, high, out)
      byPoints(two, 0, low, high, cells).forEach((v, i) => expect(out[i]!).toBeCloseTo(v, 2))
    }
  })

  it('keeps every value when the cells cover all', () => {
    const out = new Float64Array(37)
    shareOut(two, 1, -3, 3, out)
    expect(sum(out)).toBeCloseTo(8, 10)
  })
})

describe('reading a histogram', () => {
  it('counts below a value', () => {
    expect(countBelow(two, 0, -1)).toBe(0)
    expect(countBelow(two, 0, 1.5)).toBe(2.5)
    expect(countBelow(two, 0, 9)).toBe(8)
  })

  it('finds quantiles, jumping over empty bins', () => {
    expect(quantile(two, 0, 0)).toBe(0)
    expect(quantile(two, 0, 0.5)).toBeCloseTo(2, 12)
    expect(quantile(two, 0, 0.25)).toBeCloseTo(1 + 1 / 3, 12)
    expect(quantile(two, 0, 0.75)).toBeCloseTo(3.5, 12)
    expect(quantile(two, 0, 1)).toBe(4)
    expect(quantile({ bins: 2, counts: [0, 0], lo: [0], hi: [1] }, 0, 0.5)).toBeNaN()
  })

  it('gives bands that never cross', () => {
    const bands = percentileBands(two, 2)
    for (let t = 0; t < 2; t++)
      for (let k = 1; k < bands.length; k++) expect(bands[k]![t]!).toBeGreaterThanOrEqual(bands[k - 1]![t]!)
  })

  it('knows the range that holds anything', () => {
    expect(occupiedRange(two, 1)).toEqual({ low: 0, high: 4 })
    expect(occupiedRange(two, 2)).toEqual({ low: -1, high: 4 })
    expect(occupiedRange({ bins: 2, counts: [0, 0], lo: [0], hi: [1] }, 1)).toBeNull()
    expect(rowTotal(two, 1)).toBe(8)
  })
})

describe('the range that is drawn', () => {
  const T = 100
  const narrow = {
    bins: 2,
    counts: Array.from({ length: 2 * T }, () => 50),
    lo: Array.from({ length: T }, (_, t) => (t === 7 ? -100 : -1)),
    hi: Array.from({ length: T }, (_, t) => (t === 7 ? 100 : 1)),
  }
  it('leaves a far row out and says how much that is', () => {
    const range = drawnRange(narrow, T, false)!
    expect(range.low).toBeCloseTo(-0.99, 10)
    expect(range.high).toBeCloseTo(0.99, 10)
    // 1 % of 99 rows, and 98.99 % + 0.01 % of the far one.
    expect(range.outside).toBeCloseTo((99 * 1 + 99.01) / 10_000, 6)
  })

  it('is all of it when that is asked for, or not much wider', () => {
    expect(drawnRange(narrow, T, true)).toEqual({ low: -100, high: 100, outside: 0 })
    expect(drawnRange(two, 2, false)).toEqual({ low: -1, high: 4, outside: 0 })
  })
})

describe('an image of histograms over time', () => {
  it('gives each row the columns until the next one', () => {
    const image = histogramImage(two, [0, 3], { x0: 0, x1: 4, low: -1, high: 4 }, { columns: 4, rows: 5 })
    const column = (x: number) => Array.from({ length: 5 }, (_, y) => image.cells[y * 4 + x])
    expect(column(0)).toEqual([0, 1, 3, 0, 4])
    expect(column(2)).toEqual([0, 1, 3, 0, 4])
    expect(column(3)).toEqual([8, 0, 0, 0, 0])
    expect(image.largest).toBe(8)
  })

  it('mixes rows that share a column by how much each covers', () => {
    const image = histogramImage(two, [0, 3], { x0: 0, x1: 4, low: -1, high: 4 }, { columns: 1, rows: 5 })
    expect(Array.from(image.cells)).toEqual([2, 0.75, 2.25, 0, 3])
  })

  it('leaves what was before the first row empty', () => {
    const image = histogramImage(two, [2, 3], { x0: 0, x1: 4, low: -1, high: 4 }, { columns: 4, rows: 5 })
    expect(sum(image.cells.filter((_, i) => i % 4 < 2))).toBe(0)
    expect(sum(image.cells)).toBeCloseTo(16, 5)
  })

  it('draws counts in proportion or by their logarithm', () => {
    expect(strength(5, 10, false)).toBe(0.5)
    expect(strength(9, 99, true)).toBeCloseTo(0.5, 12)
    expect(strength(0, 10, true)).toBe(0)
  })
})

it('counts values between the least and the greatest, the greatest in the last bin', () => {
  expect(countIn([0, 1, 2, 3, 4, NaN, Infinity], 4)).toEqual({ counts: Uint32Array.of(1, 1, 1, 2), lo: 0, hi: 4 })
  expect(countIn([3, 3], 2)).toEqual({ counts: Uint32Array.of(0, 2), lo: 2.5, hi: 3.5 })
  expect(countIn([], 2)).toEqual({ counts: Uint32Array.of(0, 0), lo: 0, hi: 1 })
})
