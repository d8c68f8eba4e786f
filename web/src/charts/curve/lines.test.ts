import { describe, expect, test } from 'vitest'
import { moved, nearestPoint, pathPoints, smooth, smoothingUnit, xRange, yRange, type Line } from './lines'

const f = (...v: number[]) => Float64Array.from(v)
const line = (x: number[], y: number[]): Line => ({
  id: 'r',
  label: 'r',
  colour: '#000',
  main: true,
  sorted: true,
  x: f(...x),
  y: f(...y),
  raw: null,
})

describe('smooth', () => {
  test('equals the textbook debiased mean on evenly spaced points', () => {
    const y = f(3, 1, 4, 1, 5, 9, 2, 6)
    const out = smooth(
      y.map((_, i) => i),
      y,
      0.6,
      1,
    )
    let last = 0
    y.forEach((v, i) => {
      last = last * 0.6 + 0.4 * v
      expect(out[i]).toBeCloseTo(last / (1 - 0.6 ** (i + 1)), 12)
    })
  })
  test('a constant stays itself, whatever the spacing', () => {
    for (const v of smooth(f(0, 1, 5, 5, 100), f(2, 2, 2, 2, 2), 0.9, 3)) expect(v).toBeCloseTo(2, 12)
  })
  test('values that are not finite stay and count for nothing', () => {
    const out = smooth(f(0, 1, 2, 3), f(1, NaN, Infinity, 1), 0.5, 1)
    expect([...out]).toEqual([1, NaN, Infinity, 1])
  })
  test('weight 0 changes nothing', () => expect([...smooth(f(0, 1, 2), f(5, -1, 7), 0, 1)]).toEqual([5, -1, 7]))
  test('the unit follows what was recorded, not how much of it is here', () => {
    expect(smoothingUnit([0, 50, 99], 100)).toBeCloseTo(1)
    expect(smoothingUnit([0, 999_999], 1_000_000)).toBeCloseTo(1001, 0)
  })
})

describe('ranges', () => {
  test('points that are not finite widen nothing', () => {
    const l = line([0, 1, 2, 3], [1, NaN, Infinity, 2])
    expect(xRange([l], false)).toEqual([0, 3])
    expect(yRange([l], [0, 3], false, false)).toEqual([0.95, 2.05])
  })
  test('only what is in view counts, with a neighbour on each side', () => {
    const l = line([0, 1, 2, 3, 4, 5], [100, 0, 1, 2, 3, 100])
    const [low, high] = yRange([l], [1.5, 3.5], false, false)
    expect(low).toBeCloseTo(-0.15)
    expect(high).toBeCloseTo(3.15)
  })
  test('a run that ended before the view widens nothing', () => {
    const ended = line([0, 1, 2], [500, 500, 500])
    const goes = line([0, 5, 10], [1, 1, 2])
    expect(yRange([ended, goes], [4, 10], false, false)[1]).toBeLessThan(3)
  })
  test('a log axis leaves out zero and below', () => {
    const [low, high] = yRange([line([1, 2, 3], [-1, 0.1, 10])], [1, 3], true, false)
    expect(low).toBeGreaterThan(0.05)
    expect(low).toBeLessThan(0.1)
    expect(high).toBeGreaterThan(10)
    expect(xRange([line([0, 2, 8], [1, 1, 1])], true)).toEqual([2, 8])
  })
  test('outliers can be left out', () => {
    const y = Array.from({ length: 200 }, (_, i) => i % 10)
    y[77] = 1e9
    expect(
      yRange(
        [
          line(
            y.map((_, i) => i),
            y,
          ),
        ],
        [0, 199],
        false,
        true,
      )[1],
    ).toBeLessThan(10)
  })
  test('no points at all give a range that can be drawn', () => {
    expect(xRange([line([], [])], false)).toBeNull()
    expect(yRange([line([], [])], [0, 1], false, false)).toEqual([0, 1])
  })
})

describe('moving a view', () => {
  test('stops at the ends', () => {
    expect(moved([10, 20], [0, 100], 0.5, 1, 0.5, false)).toEqual([15, 25])
    expect(moved([10, 20], [0, 100], -5, 1, 0.5, false)).toEqual([0, 10])
    expect(moved([10, 20], [0, 100], 50, 1, 0.5, false)).toEqual([90, 100])
  })
  test('stretches around the mouse, at most to the whole', () => {
    expect(moved([10, 20], [0, 100], 0, 0.5, 0.2, false)).toEqual([11, 16])
    expect(moved([10, 20], [0, 100], 0, 99, 0.2, false)).toEqual([0, 100])
  })
  test('on a log axis a part is a factor', () => {
    const [a, b] = moved([10, 100], [1, 1000], 1, 1, 0, true)
    expect(a).toBeCloseTo(100)
    expect(b).toBeCloseTo(1000)
  })
})

describe('paths', () => {
  const id = (v: number) => v
  test('a gap breaks the line', () => {
    expect(pathPoints({ x: f(0, 1, 2), sorted: true }, f(5, NaN, 6), [0, 2], id, id)).toEqual([0, 5, NaN, NaN, 2, 6])
  })
  test('a million points on few pixels keep every extreme', () => {
    const n = 1_000_000
    const x = Float64Array.from({ length: n }, (_, i) => i)
    const y = Float64Array.from({ length: n }, (_, i) => Math.sin(i / 1000))
    y[123_456] = 50
    y[765_432] = -50
    const points = pathPoints({ x, sorted: true }, y, [0, n], (v) => (v / n) * 500, id)
    expect(points.length).toBeLessThan(10_000)
    const ys = points.filter((_, i) => i % 2 === 1)
    expect(Math.max(...ys)).toBe(50)
    expect(Math.min(...ys)).toBe(-50)
  })
  test('the nearest point', () => {
    expect(nearestPoint({ x: f(...[0, 10, 20]), sorted: true }, 14)).toBe(1)
    expect(nearestPoint({ x: f(...[0, 10, 20]), sorted: true }, 16)).toBe(2)
    expect(nearestPoint({ x: f(...[0, 10, 20]), sorted: true }, -5)).toBe(0)
    expect(nearestPoint({ x: f(), sorted: true }, 1)).toBe(-1)
    expect(nearestPoint({ x: f(9, 3, 7), sorted: false }, 4)).toBe(1)
  })
})
