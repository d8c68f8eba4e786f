import { describe, expect, test } from 'vitest'
import type { TrialDocument } from '../../wire/types'
import {
  axisOf,
  cellOf,
  compareTexts,
  inBrush,
  meanAfter,
  placeOn,
  readBrush,
  readNumbers,
  roundLabelsOn,
  sorted,
  stretches,
  valueOn,
  valueText,
  writeBrush,
  writeNumbers,
} from './trials'

const trial = (number: number, parameters: Record<string, unknown>, metrics = {}, seconds: number | null = 1) =>
  ({ trial: number, parameters, metrics, seconds, status: 'finished', seed: 0, repeat: 0 }) as unknown as TrialDocument

const trials = [
  trial(0, { lr: 0.1, act: 'relu', filters: [8, 16] }, { acc: 0.8 }),
  trial(1, { lr: 0.001, act: 'elu', filters: [8, 16] }, { acc: 0.9 }),
  trial(2, { lr: 0.01, act: 'elu' }, {}, null),
]

describe('columns of trials', () => {
  test('values are written as people write them', () => {
    expect(valueText([8, 16])).toBe('[8, 16]')
    expect(valueText(true)).toBe('true')
    expect(valueText(undefined)).toBe('not set')
    expect(valueText(0.1 + 0.2)).toBe('0.3')
  })

  test('rows without a value come last whichever way they are sorted', () => {
    expect(sorted(trials, 'm:acc', true).map((t) => t.trial)).toEqual([1, 0, 2])
    expect(sorted(trials, 'm:acc', false).map((t) => t.trial)).toEqual([0, 1, 2])
    expect(sorted(trials, 'p:lr', false).map((t) => t.trial)).toEqual([1, 2, 0])
    expect(['[16]', '[8, 16]', 'x10', '[8]', 'x9'].sort(compareTexts)).toEqual(['[8]', '[8, 16]', '[16]', 'x9', 'x10'])
    expect(sorted(trials, 'p:act', false).map((t) => t.trial)).toEqual([1, 2, 0])
  })
})

describe('axes', () => {
  test('numbers that span much are logarithms, and places go there and back', () => {
    const axis = axisOf({ id: 'p:lr', title: 'lr' }, trials)
    expect(axis.kind).toBe('log')
    expect(placeOn(axis, 0.01)).toBeCloseTo(0.5)
    expect(valueOn(axis, 0.5)).toBeCloseTo(0.01)
  })

  test('texts and lists are choices', () => {
    const axis = axisOf({ id: 'p:filters', title: 'filters' }, trials)
    expect(axis.choices).toEqual(['[8, 16]', 'not set'])
    expect(placeOn(axis, cellOf(trials[2]!, 'p:filters'))).toBe(1)
  })

  test('a brush keeps those inside, and is the same after the address', () => {
    const axis = axisOf({ id: 'm:acc', title: 'acc' }, trials)
    const brush = readBrush(writeBrush(new Map([['m:acc', [0.5, 1]]])))
    const axes = new Map([['m:acc', axis]])
    expect(trials.filter((t) => inBrush(t, brush, axes)).map((t) => t.trial)).toEqual([1])
    expect(readBrush('broken,~,p:a~2~1')).toEqual(new Map())
  })

  test('numbers in the address', () => {
    expect(writeNumbers(readNumbers('7,x,1,7'))).toBe('1,7')
  })
})

test('means leave the first epochs out, and gaps', () => {
  const array = (...values: number[]) => new Float64Array(values)
  const curve = {
    trial: 0,
    name: 'loss',
    steps: array(),
    epochs: array(1, 2, 3, 4, 5, 6, 7, 8),
    values: array(9, 9, 9, 9, 9, 1, NaN, 3),
  }
  expect(meanAfter(curve, 5)).toEqual({ mean: 2, count: 2 })
  expect(meanAfter(curve, 8)).toEqual({ mean: NaN, count: 0 })
  expect(meanAfter(undefined, 5).count).toBe(0)
})

describe('round labels of an axis', () => {
  const texts = (id: string, values: number[]) =>
    roundLabelsOn(
      axisOf(
        { id, title: id },
        values.map((v, k) => trial(k, { lr: v }, { acc: v }, v)),
      ),
      4,
    ).map(([place, text]) => [Math.round(place * 1000) / 1000, text])
  test('stand at round numbers', () => {
    expect(texts('m:acc', [0, 0.33, 1])).toEqual([
      [0, '0.00'],
      [0.25, '0.25'],
      [0.5, '0.50'],
      [0.75, '0.75'],
      [1, '1.00'],
    ])
  })
  test('of logarithms at powers of ten', () => {
    expect(texts('p:lr', [0.001, 0.01, 0.1]).map(([at]) => at)).toEqual([0, 0.5, 1])
  })
  test('of times are told apart, however near they lie', () => {
    expect(texts('seconds', [0, 600]).map(([, text]) => text)).toEqual([
      '0 s',
      '3 min 20 s',
      '6 min 40 s',
      '10 min 00 s',
    ])
    const near = texts('seconds', [30.1, 31.9]).map(([, text]) => text)
    expect(new Set(near).size).toBe(near.length)
    expect(near.every((text) => String(text).endsWith(' s'))).toBe(true)
  })
})

test('numbers are asked for in stretches', () => {
  expect(stretches([], 10)).toEqual([])
  expect(stretches([7, 3, 4, 4, 5], 10)).toEqual([[3, 5]])
  expect(stretches([1, 20], 10)).toEqual([
    [1, 1],
    [20, 1],
  ])
  const all = stretches(
    Array.from({ length: 25 }, (_, k) => k),
    10,
  )
  expect(all).toEqual([
    [0, 10],
    [10, 10],
    [20, 5],
  ])
})
