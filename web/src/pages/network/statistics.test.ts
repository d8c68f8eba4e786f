import { expect, it } from 'vitest'
import { layerOf } from '../../charts/network/sample'
import type { HistogramStack } from '../../wire/frames'
import type { RunDetail } from '../../wire/types'
import { askedFor, columnOf, logPart, measureSource, partOf, positiveRange, scaleOf } from './statistics'

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

it('gives each measure the scale that fits it', () => {
  expect(scaleOf('dead', [[0, 0.25]])).toEqual({ kind: 'share', low: 0, high: 1 })
  expect(scaleOf('dead', [])).toBeNull()
  const signed = scaleOf('mean', [[-3, Number.NaN, 1]])!
  expect(signed).toEqual({ kind: 'signed', low: -3, high: 3 })
  expect([-3, 0, 3].map((v) => partOf(v, signed))).toEqual([0, 0.5, 1])
  expect(partOf(Number.NaN, signed)).toBeNull()
  expect(scaleOf('norm', [[1, 100]])).toEqual({ kind: 'log', low: 1, high: 100 })
})

it('finds the tensors of a layer, and the outputs of a module under its name', () => {
  const tensor = (series: string, rows = 3) => ({ series, rows })
  const detail = {
    tensors: [tensor('param/a.weight'), tensor('grad/a.weight', 0), tensor('act/a'), tensor('act/add')],
  } as unknown as RunDetail
  const layer = layerOf('a', 'Linear')
  expect(measureSource(layer, 'ratio', detail)).toEqual({ series: 'param/a.weight', column: 'update_ratio', rows: 3 })
  expect(measureSource(layer, 'grad', detail)).toBeNull()
  const again = { ...layer, layer_id: 'a@2' }
  expect(measureSource(again, 'dead', detail)?.series).toBe('act/a')
  expect(measureSource({ ...layerOf('add', 'add'), module: '' }, 'std', detail)?.column).toBe('std')
  expect(measureSource(layerOf('relu', 'ReLU'), 'norm', detail)).toBeNull()
})

it('asks for one statistic of all tensors of a kind', () => {
  const tensor = (series: string, rows: number) => ({ series, rows })
  const detail = {
    tensors: [tensor('param/a.weight', 3), tensor('grad/a.weight', 2), tensor('grad/b.weight', 5)],
  } as unknown as RunDetail
  expect(askedFor('grad', detail)).toEqual({ kind: 'grad', column: 'norm', rows: 7 })
  expect(askedFor('ratio', detail)).toEqual({ kind: 'param', column: 'update_ratio', rows: 3 })
  expect(askedFor('dead', detail)).toEqual({ kind: 'act', column: 'dead', rows: 0 })
})
