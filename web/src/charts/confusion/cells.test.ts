import { expect, test } from 'vitest'
import { cellColour, cellsOf, differenceOf } from './cells'

// Of 4 examples of class 0, three were right; of class 1, one of two; there are none of class 2.
const A = Uint32Array.of(3, 1, 0, 1, 1, 0, 0, 0, 0)
const B = Uint32Array.of(2, 0, 2, 1, 1, 0, 0, 0, 0)

test('cells tell counts or shares, and nothing where nothing is', () => {
  expect(cellsOf(A, 3, 'counts').texts).toEqual(['3', '1', '', '1', '1', '', '', '', ''])
  expect(cellsOf(A, 3, 'rows').texts).toEqual(['75', '25', '', '50', '50', '', '–', '–', '–'])
  expect(cellsOf(A, 3, 'columns').texts).toEqual(['75', '50', '–', '25', '50', '–', '', '', '–'])
})

test('tints are shares of the row: good on the diagonal, bad beside it', () => {
  expect([...cellsOf(A, 3, 'counts').tints.slice(0, 6)]).toEqual([0.75, -0.25, -0, -0.5, 0.5, -0])
  expect(cellsOf(A, 3, 'columns').tints[1]).toBe(-0.5)
})

test('a difference is A without B; more right answers and fewer wrong ones are good', () => {
  const { texts, tints } = differenceOf(A, B, 3, 'counts')
  expect(texts.slice(0, 6)).toEqual(['+1', '+1', '−2', '', '', ''])
  expect([...tints.slice(0, 3)]).toEqual([0.25, -0.25, 0.5])
  expect(differenceOf(A, B, 3, 'rows').texts.slice(0, 3)).toEqual(['+25', '+25', '−50'])
  expect(differenceOf(A, A, 3, 'rows').texts.slice(0, 3)).toEqual(['', '', ''])
  const small = differenceOf(Uint32Array.of(999, 1, 0, 1000), Uint32Array.of(995, 5, 0, 1000), 2, 'rows')
  expect(small.texts).toEqual(['+0.4', '−0.4', '', ''])
})

test('nothing has no colour, and more has more of it', () => {
  expect(cellColour(0)).toBe('transparent')
  expect(cellColour(NaN)).toBe('transparent')
  expect(cellColour(1)).toContain('var(--good) 50%')
  expect(cellColour(-0.25)).toContain('var(--bad) 28%')
})
