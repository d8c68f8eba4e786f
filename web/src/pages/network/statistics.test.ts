import { expect, it } from 'vitest'
import type { HistogramStack } from '../../wire/frames'
import { columnOf, logPart, positiveRange } from './statistics'

it('reads a column of statistics through time', () => {
  const rows = {
    steps: Float64Array.from([0, 5]),
    columns: ['mean', 'norm'],
    statistics: Float64Array.from([1, 2, 3, 4]),
  } as HistogramStack
  expect([...columnOf(rows, 'norm')]).toEqual([2, 4])
  expect([...columnOf(rows, 'none')]).toEqual([Number.NaN, Number.NaN])
})

it('places values on a log scale', () => {
  expect(
    positiveRange([
      [0, Number.NaN, 1e-4],
      [Infinity, 1e-2],
    ]),
  ).toEqual({ low: 1e-4, high: 1e-2 })
  expect(positiveRange([[0, -1]])).toBeNull()
  expect(logPart(1e-3, 1e-4, 1e-2)).toBeCloseTo(0.5, 12)
  expect(logPart(0, 1e-4, 1e-2)).toBeNull()
  expect(logPart(3, 3, 3)).toBe(1)
})
