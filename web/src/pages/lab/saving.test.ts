import { expect, test } from 'vitest'
import { fileName, filesOf } from './saving'

test('names are such as every system takes', () => {
  expect(fileName('mnist3d val/loss over time')).toBe('mnist3d val-loss over time')
  expect(fileName('../../etc')).toBe('etc')
  expect(fileName('"a":*?')).toBe('a')
  expect(fileName('..')).toBe('card')
})

test('each card gives a picture of the kind asked for and its table, once', async () => {
  const card = {
    name: 'x loss',
    png: () => new Blob([Uint8Array.of(1, 2)]),
    svg: () => '<svg/>',
    csv: () => 'a\n',
  }
  const table = { name: 'x trials', csv: () => Promise.resolve('b\n') }
  const named = async (kind: 'png' | 'svg') => (await filesOf([table, card, card], kind)).map((f) => f.name)
  expect(await named('png')).toEqual(['x trials.csv', 'x loss.png', 'x loss.csv'])
  expect(await named('svg')).toEqual(['x trials.csv', 'x loss.svg', 'x loss.csv'])
})
