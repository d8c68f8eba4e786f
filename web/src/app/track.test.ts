import { describe, expect, test } from 'vitest'
import { NO_TIME } from '../state/timeline'
import { EDGE, laneRange, stepOf, xOf } from './track'

const time = { ...NO_TIME, first: 0, last: 80, end: 100 }

describe('the track', () => {
  test('steps and pixels, there and back, held at the ends', () => {
    expect(xOf(time, 500, 0)).toBe(EDGE)
    expect(xOf(time, 500, 100)).toBe(500 - EDGE)
    for (const step of [0, 1, 50, 99, 100]) expect(stepOf(time, 500, xOf(time, 500, step))).toBe(step)
    expect(stepOf(time, 500, -50)).toBe(0)
    expect(stepOf(time, 500, 9999)).toBe(100)
  })
  test('one step only is a place too', () => expect(xOf(NO_TIME, 500, 0)).toBe(EDGE))
  test('the lane shows all of a usual curve', () => {
    const v = Float64Array.from({ length: 3000 }, (_, i) => (i % 2 ? i : -i))
    expect(laneRange([{ v }])).toEqual([-2998, 2999])
  })
  test('one spike does not flatten it, nothing finite is nothing', () => {
    const v = new Float64Array(500).map((_, i) => i / 500)
    v[3] = 1e9
    expect(laneRange([{ v }])![1]).toBeLessThan(2)
    expect(laneRange([{ v: Float64Array.from([Number.NaN, Infinity]) }])).toBeNull()
  })
})
