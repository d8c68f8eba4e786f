import { expect, test } from 'vitest'
import { given, middle } from './prepared'

// Z-scores of centimetres: means 5.8 and 3, deviations 0.8 and 0.4; a third column was 7 in every row and is given as 1.
const PREPARED = { scale: [1 / 0.8, 1 / 0.4, 0], offset: [-5.8 / 0.8, -3 / 0.4, 1] }

test('what is measured becomes what is given, row after row', () => {
  const found = given([6.6, 2.6, 7, 5.8, 3, 7], PREPARED)
  ;[1, -1, 1, 0, 0, 1].forEach((v, i) => expect(found[i]).toBeCloseTo(v, 12))
})

test('the middle is what is given as zeros', () => {
  const found = middle(PREPARED)
  ;[5.8, 3, 0].forEach((v, i) => expect(found[i]).toBeCloseTo(v, 12))
})
