/** Networks for tests, as the server tells them. */
import type { GraphDocument, LayerDocument } from '../../wire/types'

export function layerOf(id: string, kind: string, more: Partial<LayerDocument> = {}): LayerDocument {
  const weights = kind === 'Conv2d' || kind === 'Linear'
  const parameter = {
    name: `${id}.weight`,
    shape: [4, 4],
    dtype: 'float32',
    role: 'weight' as const,
    trainable: true,
    initializer: null,
    size: 16,
    bytes: 64,
  }
  return {
    layer_id: id,
    kind,
    module: id,
    role: id === 'x' ? 'input' : id === 'output' ? 'output' : /^(add|cat)$/.test(kind) ? 'operation' : 'module',
    inputs: [[-1, 4]],
    outputs: [[-1, 4]],
    parameters: weights ? [parameter] : [],
    activation: null,
    attributes: {},
    parameter_count: weights ? 16 : 0,
    multiply_adds: weights ? 16 : 0,
    units: null,
    group: id.includes('.') ? id.slice(0, id.lastIndexOf('.')) : '',
    shared: [],
    ...more,
  }
}

/** A residual network: an input, `stages` of `blocks` blocks each (conv, relu, conv, add), and an output. */
export function residual(stages: number, blocks: number, deep = 2): GraphDocument {
  const layers = [layerOf('x', 'input')]
  const edges: GraphDocument['edges'] = []
  const groups: GraphDocument['groups'] = []
  const skips: GraphDocument['skips'] = []
  let last = 'x'
  const step = (id: string, kind: string) => {
    // Stages differ in what they put out, blocks of one stage do not.
    layers.push(layerOf(id, kind, { outputs: [[-1, id.startsWith('stage') ? Number(id[5]) + 4 : 4]] }))
    edges.push({ source: last, target: id, skip: false })
    last = id
  }
  for (let s = 0; s < stages; s++) {
    groups.push({ group_id: `stage${s}`, kind: 'Sequential', parent: '' })
    for (let b = 0; b < blocks; b++) {
      const block = `stage${s}.${b}`
      groups.push({ group_id: block, kind: 'Block', parent: `stage${s}` })
      const from = last
      for (let c = 0; c < deep; c++) {
        step(`${block}.conv${c}`, 'Conv2d')
        step(`${block}.relu${c}`, 'ReLU')
      }
      step(`${block}.add`, 'add')
      edges.push({ source: from, target: `${block}.add`, skip: true })
      skips.push({ source: from, target: `${block}.add`, through: [] })
    }
  }
  step('output', 'output')
  return {
    source: 'export',
    model: 'Net',
    framework: 'torch',
    note: '',
    layers,
    edges,
    groups,
    skips,
    multiply_adds: 0,
    bytes: 0,
    parameter_count: 0,
    trainable_count: 0,
  }
}
