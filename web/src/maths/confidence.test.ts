import { expect, test } from 'vitest'
import { sureness } from './confidence'

test('what is almost nothing, or almost all, is told as such', () => {
  const told = [0, 4e-9, 0.001, 0.5, 0.9995, 1].map((p) => sureness(p).replace(/\s/, ' '))
  expect(told).toEqual(['0 %', '<0.1 %', '0.1 %', '50 %', '>99.9 %', '100 %'])
})
