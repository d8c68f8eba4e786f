import { expect, it } from 'vitest'
import type { GraphDocument, RunDetail, TensorDocument } from '../../wire/types'
import { chosenTensors, tensorViews } from './tensors'

function tensor(series: string, change: number | null = null, rows = 3): TensorDocument {
  const [kind, name] = [series.slice(0, series.indexOf('/')), series.slice(series.indexOf('/') + 1)]
  return {
    series,
    kind: kind as TensorDocument['kind'],
    name,
    layout: [],
    shape: [2, 2],
    dtype: 'float32',
    frames: rows,
    rows,
    change,
  }
}
function layer(name: string) {
  return {
    layer: name,
    kind: 'Linear',
    activation: null,
    inputs: 2,
    outputs: 2,
    weight: tensor(`param/${name}.weight`),
    bias: tensor(`param/${name}.bias`),
    others: [],
  }
}
const detail = {
  layers: [layer('b'), layer('a')],
  tensors: [
    tensor('act/b', 9),
    tensor('grad/a.weight', 2),
    tensor('grad/b.weight', null),
    tensor('param/a.bias', 5),
    tensor('param/a.weight', 0.5),
    tensor('param/b.weight', 1),
    tensor('param/b.bias', 0, 0),
    tensor('param/a.scale', 0.1),
  ],
} as unknown as RunDetail

it('follows the order of the layers, and tells weights from biases', () => {
  expect(tensorViews(detail).map((v) => `${v.tensor.series} ${v.group}`)).toEqual([
    'param/b.weight weight',
    'grad/b.weight grad',
    'act/b act',
    'param/a.weight weight',
    'grad/a.weight grad',
    'param/a.bias bias',
    'param/a.scale other',
  ])
})

it('filters by kind and words, and sorts by change', () => {
  const views = tensorViews(detail)
  const names = (o: Parameters<typeof chosenTensors>[1]) => chosenTensors(views, o).map((v) => v.tensor.series)
  expect(names({ groups: new Set(['grad', 'act']), search: '', byChange: true })).toEqual([
    'act/b',
    'grad/a.weight',
    'grad/b.weight',
  ])
  expect(names({ groups: new Set(), search: 'WEIGHT a.', byChange: false })).toEqual([
    'param/a.weight',
    'grad/a.weight',
  ])
})

it('puts activations where the graph runs them', () => {
  const graph = {
    layers: ['a', 'relu', 'b'].map((layer_id) => ({
      layer_id,
      parameters: layer_id === 'relu' ? [] : [{ name: `${layer_id}.weight` }],
    })),
  } as unknown as GraphDocument
  const tensors = [tensor('act/relu'), tensor('act/b'), tensor('act/a'), tensor('param/b.weight')]
  const views = tensorViews({ layers: [], tensors } as unknown as RunDetail, graph)
  expect(views.map((v) => v.tensor.series)).toEqual(['act/a', 'act/relu', 'param/b.weight', 'act/b'])
})
