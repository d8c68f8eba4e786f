import { expect, test } from 'vitest'
import { contour, placeAt, rangeOf, sampled, type Grid } from './surface'

const grid = (rows: number, columns: number, f: (x: number, y: number) => number): Grid => ({
  rows,
  columns,
  values: Float32Array.from({ length: rows * columns }, (_, i) => f(i % columns, Math.floor(i / columns))),
})

test('a plane stays one between its places, with its first row at the bottom', () => {
  const plane = grid(3, 4, (x, y) => 2 * x - 3 * y)
  const picture = sampled(plane, 7, 5)
  expect(picture[4 * 7]).toBeCloseTo(0)
  expect(picture[0]).toBeCloseTo(-6)
  expect(picture[6]).toBeCloseTo(0)
  expect(picture[2 * 7 + 3]).toBeCloseTo(2 * 1.5 - 3 * 1)
})

test('lines of one height lie at that height', () => {
  const bowl = grid(21, 21, (x, y) => (x - 10) ** 2 + (y - 10) ** 2)
  const pieces = contour(bowl, 36)
  expect(pieces.length).toBeGreaterThan(30)
  for (const [x1, y1, x2, y2] of pieces) {
    expect(Math.abs(Math.hypot(x1 - 10, y1 - 10) - 6)).toBeLessThan(0.1)
    expect(Math.abs(Math.hypot(x2 - 10, y2 - 10) - 6)).toBeLessThan(0.1)
  }
  expect(contour(bowl, -1)).toEqual([])
  expect(
    contour(
      grid(2, 2, () => NaN),
      0,
    ),
  ).toEqual([])
})

test('the range leaves out what sticks out, and is never empty', () => {
  expect(rangeOf([...Array(99).fill(1), 2, 3, 900, NaN])).toEqual({ lo: 1, hi: 1 + 1, clipped: false })
  const many = rangeOf(Array.from({ length: 101 }, (_, i) => i))
  expect(many).toEqual({ lo: 0, hi: 95, clipped: true })
  expect(rangeOf([])).toEqual({ lo: 0, hi: 1, clipped: false })
})

test('the place of a step', () => {
  expect(placeAt([0, 5, 9], 7)).toBe(1)
  expect(placeAt([3], 2)).toBe(-1)
})
