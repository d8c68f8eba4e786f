import { expect, test } from 'vitest'
import { rowsBetween } from './inview'

test('rows in view, with some to spare, never before the first', () => {
  expect(rowsBetween(0, 440, 44, 2)).toEqual([0, 12])
  expect(rowsBetween(4400, 4840, 44, 2)).toEqual([98, 112])
  expect(rowsBetween(-300, 100, 44, 0)).toEqual([0, 3])
  // Scrolled past it: nothing is in view, and nothing is drawn.
  expect(rowsBetween(-900, -500, 44, 0)).toEqual([0, 0])
})
