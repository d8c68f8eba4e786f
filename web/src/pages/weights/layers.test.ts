import { expect, test } from 'vitest'
import type { LayerDocument, RunDetail, TensorDocument, WeightLayerDocument } from '../../wire/types'
import { layerViews, networkInput } from './layers'

const tensor = (name: string, shape: number[]) =>
  ({ series: `param/${name}`, kind: 'param', name, shape, frames: 3, rows: 3 }) as unknown as TensorDocument

const layer = (id: string, weight: TensorDocument) =>
  ({ layer: id, kind: 'Linear', weight, bias: null, others: [] }) as unknown as WeightLayerDocument

const input = (id: string, shape: number[]) =>
  ({ layer_id: id, role: 'input', inputs: [], outputs: [shape] }) as unknown as LayerDocument

function detail(names: [string, number[]][], models?: string[]): RunDetail {
  const tensors = names.map(([name, shape]) => tensor(`${name}.weight`, shape))
  return {
    tensors,
    layers: names.map(([name], i) => layer(name, tensors[i]!)),
    recorder: models ? { models } : {},
  } as unknown as RunDetail
}

test('the first layer of a network is folded as its input is', () => {
  const graph = { layers: [input('x', [-1, 1, 4, 8])] }
  expect(networkInput(graph)).toEqual([-1, 1, 4, 8])
  const [first, second] = layerViews(
    detail([
      ['0', [5, 32]],
      ['2', [3, 32]],
    ]),
    'param',
    graph,
  )
  expect(first!.tiles).toMatchObject({ height: 4, width: 8 })
  expect(second!.tiles).not.toMatchObject({ height: 4, width: 8 })
})

test('of several models each has a first layer and an input of its own', () => {
  const graph = { layers: [input('generator.input', [-1, 7]), input('critic.input', [-1, 1, 4, 8])] }
  expect(networkInput(graph, 'critic')).toEqual([-1, 1, 4, 8])
  const names: [string, number[]][] = [
    ['generator.0', [5, 7]],
    ['critic.0', [6, 32]],
  ]
  const views = layerViews(detail(names, ['generator', 'critic']), 'param', graph)
  expect(views.map((v) => v.layer)).toEqual(['generator.0', 'critic.0'])
  expect(views[1]!.tiles).toMatchObject({ height: 4, width: 8 })
})
