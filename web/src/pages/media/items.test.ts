import { describe, expect, it } from 'vitest'
import type { MediaItemDocument, MediaSeriesDocument } from '../../wire/types'
import { byStep, grouped, rangeOf, sizeText, stepAt, stepsOf } from './items'

const item = (step: number, index = 0): MediaItemDocument => ({
  step,
  index,
  t: 0,
  kind: 'image',
  blob: 'x.png',
  size: 1,
  caption: '',
  meta: {},
})
const series = (name: string, kind = 'image'): MediaSeriesDocument => ({
  series: name,
  kinds: [kind],
  count: 1,
  steps: 1,
  first_step: 0,
  last_step: 0,
})

describe('what is shown at a step', () => {
  it('is what was logged last until then, or the first of all', () => {
    const steps = stepsOf([item(30), item(10), item(10, 1), item(20)])
    expect(steps).toEqual([10, 20, 30])
    expect([0, 10, 19, 20, 29, 30, 99].map((s) => stepAt(steps, s))).toEqual([10, 10, 10, 20, 20, 30, 30])
    expect(stepAt([], 5)).toBeNull()
  })

  it('keeps the order of a list', () => {
    const found = byStep([item(1, 0), item(1, 1), item(2, 0)])
    expect(found.get(1)!.map((i) => i.index)).toEqual([0, 1])
    expect(found.get(2)!.length).toBe(1)
  })
})

describe('series', () => {
  it('stand under their prefixes', () => {
    const groups = grouped([series('a/x'), series('plain'), series('a/y'), series('a/b/z')], '')
    expect(groups.map((g) => [g.prefix, g.series.map((s) => s.series)])).toEqual([
      ['a', ['a/x', 'a/y']],
      ['', ['plain']],
      ['a/b', ['a/b/z']],
    ])
  })

  it('begin with pictures', () => {
    const groups = grouped([series('a/t', 'text'), series('b/x', 'chart'), series('b/y'), series('a/u', 'table')], '')
    expect(groups.map((g) => [g.prefix, g.series.map((s) => s.series)])).toEqual([
      ['b', ['b/y', 'b/x']],
      ['a', ['a/t', 'a/u']],
    ])
  })

  it('are found by name and kind', () => {
    const all = [series('val/confusion', 'chart'), series('val/first'), series('train/first')]
    const names = (search: string) => grouped(all, search).flatMap((g) => g.series.map((s) => s.series))
    expect(names('first val')).toEqual(['val/first'])
    expect(names('CHART')).toEqual(['val/confusion'])
    expect(names('none')).toEqual([])
  })
})

it('finds one scale for all steps', () => {
  const of = (meta: Record<string, unknown>) => ({ ...item(0), meta })
  expect(rangeOf([of({ low: 0, high: 2 }), of({ low: -1, high: 1 }), of({ low: null, high: null })])).toEqual({
    low: -1,
    high: 2,
  })
  expect(rangeOf([of({}), of({ width: 3 })])).toBeNull()
})

it('says sizes shortly', () => {
  expect([0, 999, 1000, 1234, 12345, 9_960_000, 3e9].map(sizeText)).toEqual([
    '0 B',
    '999 B',
    '1.0 kB',
    '1.2 kB',
    '12 kB',
    '10 MB',
    '3.0 GB',
  ])
})
