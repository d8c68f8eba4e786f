import { describe, expect, it } from 'vitest'
import type { LayerDocument } from '../../wire/types'
import { neighbours, trained, visibleGraph } from './visible'

function layer(id: string, parameters = 0, role: LayerDocument['role'] = 'module', trainable = true): LayerDocument {
  const parameter = {
    name: 'w',
    shape: [2],
    dtype: 'float32',
    role: 'weight' as const,
    trainable,
    initializer: null,
    size: 2,
    bytes: 8,
  }
  return {
    layer_id: id,
    kind: id,
    module: '',
    role,
    inputs: [],
    outputs: [],
    parameters: Array.from({ length: parameters }, () => parameter),
    activation: null,
    attributes: {},
    parameter_count: 2 * parameters,
    multiply_adds: null,
    units: null,
    group: '',
    shared: [],
  }
}
const edge = (source: string, target: string, skip = false) => ({ source, target, skip })
const block = {
  layers: [layer('in', 0, 'input'), layer('a', 1), layer('relu'), layer('b', 1), layer('add'), layer('c', 1)],
  edges: [
    edge('in', 'a'),
    edge('a', 'relu'),
    edge('relu', 'b'),
    edge('b', 'add'),
    edge('relu', 'add', true),
    edge('add', 'c'),
  ],
}

describe('what is drawn of a graph', () => {
  it('draws arrows to the next row as a spine and the others beside it', () => {
    const { layers, spine, arrows } = visibleGraph(block, true)
    expect(layers).toHaveLength(6)
    expect([...spine].sort()).toEqual([0, 1, 2, 3, 4])
    expect(arrows).toEqual([{ source: 2, target: 4, skip: true }])
  })

  it('joins layers over hidden operations and keeps the skip', () => {
    const { layers, spine, arrows } = visibleGraph(block, false)
    expect(layers.map((l) => l.layer_id)).toEqual(['in', 'a', 'b', 'c'])
    expect([...spine].sort()).toEqual([0, 1, 2])
    expect(arrows).toEqual([{ source: 1, target: 3, skip: true }])
  })

  it('does not follow arrows that go round in circles for ever', () => {
    const round = {
      layers: [layer('a', 1), layer('x'), layer('y')],
      edges: [edge('a', 'x'), edge('x', 'y'), edge('y', 'x')],
    }
    expect(visibleGraph(round, false).arrows).toEqual([])
  })

  it('knows neighbours and what is trained', () => {
    expect(neighbours(block, 'add').from.map((e) => e.source)).toEqual(['b', 'relu'])
    expect(trained(layer('a'))).toBeNull()
    expect(trained(layer('a', 2))).toBe('yes')
    expect(trained(layer('a', 1, 'module', false))).toBe('no')
    const mixed = layer('a', 1)
    mixed.parameters.push(layer('b', 1, 'module', false).parameters[0]!)
    expect(trained(mixed)).toBe('partly')
  })
})
