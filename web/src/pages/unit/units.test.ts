import { expect, test } from 'vitest'
import type { TensorDocument, WeightLayerDocument } from '../../wire/types'
import { following, outgoingElements, preceding, unitLayers } from './units'

const tensor = (name: string, shape: number[], frames = 3): TensorDocument => ({
  series: `param/${name}`,
  kind: 'param',
  name,
  shape,
  layout: [],
  dtype: 'float32',
  frames,
  rows: 0,
  change: null,
})
const layer = (name: string, shape: number[], frames = 3): WeightLayerDocument => ({
  layer: name,
  kind: '',
  activation: null,
  inputs: null,
  outputs: null,
  weight: tensor(`${name}.weight`, shape, frames),
  bias: tensor(`${name}.bias`, [shape[0]!], frames),
  others: [],
})
const edges = (...names: string[]) => names.slice(1).map((target, i) => ({ source: names[i]!, target, skip: false }))

const detail = { layers: [layer('conv', [4, 3, 3, 3]), layer('norm', [4]), layer('fc', [5, 36]), layer('out', [2, 5])] }

test('layers with units are those with weights of two axes or more', () => {
  const found = unitLayers(detail)
  expect(found.map((l) => [l.layer, l.units, l.inputs, l.first])).toEqual([
    ['conv', 4, 27, true],
    ['fc', 5, 36, false],
    ['out', 2, 5, false],
  ])
  expect(unitLayers({ layers: [layer('a', [2, 2], 0)] })).toEqual([])
})

test('what a unit meets next, through what has no units', () => {
  const layers = unitLayers(detail)
  const graph = { layers: [], edges: edges('x', 'conv', 'norm', 'relu', 'flatten', 'fc', 'out') }
  const [conv, fc, out] = layers as [(typeof layers)[0], (typeof layers)[0], (typeof layers)[0]]
  for (const known of [graph, null]) {
    expect(following(layers, conv, known)).toEqual([fc])
    expect(following(layers, fc, known)).toEqual([out])
    expect(following(layers, out, known)).toEqual([])
    expect(preceding(layers, out, known)).toBe(fc)
    expect(preceding(layers, fc, known)).toBeNull()
    expect(preceding(layers, conv, known)).toBeNull()
  }
})

test('the weights that a unit meets', () => {
  const [, fc, out] = unitLayers(detail) as [never, ReturnType<typeof unitLayers>[0], ReturnType<typeof unitLayers>[0]]
  expect(Array.from(outgoingElements(out, 5, 3).elements)).toEqual([3, 8])
  // The second of four channels, flattened to nine places each.
  const { places, elements } = outgoingElements(fc, 4, 1)
  expect(places).toBe(9)
  expect(Array.from(elements.slice(0, 10))).toEqual([9, 10, 11, 12, 13, 14, 15, 16, 17, 45])
})
