import { describe, expect, it } from 'vitest'
import { asGrid, extentOf, principal, sliceOf, turned, within } from './grids'

const tensor = (shape: number[], values: number[]) => ({ shape, dtype: 'F64', values: Float64Array.from(values) })

describe('grids', () => {
  it('have the extent of their finite values', () => {
    expect(extentOf([3, NaN, -1, Infinity])).toEqual({ low: -1, high: 3, nonfinite: 2 })
    expect(extentOf([NaN])).toEqual({ low: 0, high: 0, nonfinite: 1 })
    expect(within(1, 0, 4)).toBe(0.25)
    expect(within(1, 1, 1)).toBe(0.5)
  })

  it('lay further axes below each other', () => {
    expect(asGrid(tensor([2, 3, 4], Array(24).fill(0)))).toEqual({ rows: 6, columns: 4 })
    expect(asGrid(tensor([5], Array(5).fill(0)))).toEqual({ rows: 1, columns: 5 })
    expect(asGrid(tensor([], [1]))).toEqual({ rows: 1, columns: 1 })
  })

  it('cut a block along each axis', () => {
    const block = tensor([2, 2, 3], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    expect([...sliceOf(block, 0, 1).values]).toEqual([6, 7, 8, 9, 10, 11])
    expect([...sliceOf(block, 1, 0).values]).toEqual([0, 1, 2, 6, 7, 8])
    expect([...sliceOf(block, 2, 2).values]).toEqual([2, 5, 8, 11])
  })
})

describe('principal components', () => {
  it('are the axes along which points spread most', () => {
    const points: number[] = []
    for (let k = -5; k <= 5; k += 1) points.push(3 * k, 4 * k, 0, /* and a little */ 0, 0, k / 10)
    const found = principal(points, points.length / 3, 3)
    for (let k = -5; k <= 5; k += 1) {
      const i = (k + 5) * 2
      expect(Math.abs(found[i * 2]!)).toBeCloseTo(Math.abs(5 * k), 6)
      expect(Math.abs(found[(i + 1) * 2 + 1]!)).toBeCloseTo(Math.abs(k / 10), 6)
    }
  })
})

describe('points seen from a side', () => {
  it('keep their distances and turn around their middle', () => {
    const points = [0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2]
    const front = turned(points, 0, 0)
    const side = turned(points, Math.PI / 2, 0)
    const size = (a: Float64Array, i: number) => Math.hypot(a[i * 3]!, a[i * 3 + 1]!, a[i * 3 + 2]!)
    for (let i = 0; i < 4; i += 1) expect(size(side, i)).toBeCloseTo(size(front, i), 9)
    expect(side[3]! - side[0]!).toBeCloseTo(0, 9)
    expect(side[9]! - side[0]!).toBeCloseTo(front[3]! - front[0]!, 9)
  })
})
