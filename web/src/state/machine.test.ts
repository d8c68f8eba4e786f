import { expect, test } from 'vitest'
import { isSystem, trained } from './machine'

test.each([
  ['system/cpu', true],
  ['system/gpu0/use', true],
  ['rank12/system/cpu', true],
  ['loss', false],
  ['system', false],
  ['sub/system/cpu', false],
  ['rank/system/cpu', false],
  ['rank1/loss', false],
])('%s: %s', (name, system) => expect(isSystem(name)).toBe(system))

test('what the training logged', () => {
  expect(trained({ 'system/cpu': 1, loss: 2, 'rank1/system/cpu': 3, acc: 4 })).toEqual([
    ['loss', 2],
    ['acc', 4],
  ])
})
