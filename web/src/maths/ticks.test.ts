import { describe, expect, it } from 'vitest'
import { indexAtOrBefore, indexNearest, indexShown } from './search'
import { countTicks, logTicks, niceCeiling, niceTicks } from './ticks'

describe('ticks', () => {
  it('are round and inside', () => {
    expect(niceTicks(-0.55, 0.55, 4)).toEqual([-0.5, 0, 0.5])
    expect(niceTicks(0, 150, 6)).toEqual([0, 25, 50, 75, 100, 125, 150])
    expect(niceTicks(0.1, 0.3, 4)).toEqual([0.1, 0.15, 0.2, 0.25, 0.3])
    expect(niceTicks(3, 3)).toEqual([3])
    expect(niceTicks(Number.NaN, 1)).toEqual([])
    expect(niceTicks(5, 1, 2)).toEqual([2, 4])
  })

  it('are never far from the number asked for', () => {
    for (let k = -20; k < 20; k++) {
      for (const width of [1, 1.3, 3.7, 6, 9.9]) {
        const n = niceTicks(width * 10 ** k, width * 2 * 10 ** k, 5).length
        expect(n).toBeGreaterThanOrEqual(2)
        expect(n).toBeLessThanOrEqual(6)
      }
    }
  })

  it('count in whole numbers', () => {
    expect(countTicks(3, 6)).toEqual([0, 1, 2, 3])
    expect(countTicks(40)).toEqual([0, 10, 20, 30, 40])
  })

  it('go by powers of ten on a log axis', () => {
    expect(logTicks(0.5, 2000)).toEqual([1, 10, 100, 1000])
    expect(logTicks(1e-12, 1, 4)).toEqual([1e-12, 1e-8, 1e-4, 1])
    expect(logTicks(0, 1)).toEqual([])
  })

  it('end at a round number above', () => {
    expect([0.7, 23, 101, 0].map(niceCeiling)).toEqual([1, 25, 200, 1])
  })
})

describe('finding a step', () => {
  const steps = [0, 10, 20, 50]
  it('takes the one at or before the playhead', () => {
    expect([-1, 0, 9, 10, 49, 99].map((s) => indexAtOrBefore(steps, s))).toEqual([-1, 0, 0, 1, 2, 3])
    expect([-1, 9, 99].map((s) => indexShown(steps, s))).toEqual([0, 0, 3])
    expect([-9, 4, 6, 36, 99].map((s) => indexNearest(steps, s))).toEqual([0, 0, 1, 3, 3])
    expect(indexShown([], 3)).toBe(-1)
  })
})
