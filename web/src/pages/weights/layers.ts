/** What the Weights page shows of each layer, read from the run's description. */

import { matrixShape, tileShape, type TileShape } from '../../maths/fold'
import { formatCount } from '../../maths/numbers'
import type { GraphDocument, RunDetail, TensorDocument, WeightLayerDocument } from '../../wire/types'

export type Kind = 'param' | 'grad'

/** One card. */
export interface LayerView {
  readonly layer: string
  readonly about: string
  readonly weight: TensorDocument
  readonly bias: TensorDocument | null
  readonly others: readonly TensorDocument[]
  readonly rows: number
  readonly columns: number
  /** Null where the weight makes no pictures. */
  readonly tiles: TileShape | null
}

/** The shape of what goes into the network, as far as the graph says: the batch first. Of several models, into `model`. */
export function networkInput(graph: Pick<GraphDocument, 'layers'> | null, model = ''): readonly number[] | null {
  const input = graph?.layers.find((l) => l.role === 'input' && (!model || l.layer_id.startsWith(`${model}.`)))
  return input?.outputs[0] ?? input?.inputs[0] ?? null
}

/** Which of several models a layer belongs to: the one whose name its own begins with. */
function modelOf(layer: string, recorder: RunDetail['recorder']): string {
  const names: unknown[] = Array.isArray(recorder.models) ? recorder.models : []
  return names.filter((n) => typeof n === 'string').find((name) => layer.startsWith(`${name}.`)) ?? ''
}

/** `4 → 12 · relu`, with the kind of layer where it is not a plain linear one. */
export function aboutLayer({ kind, activation, inputs, outputs, weight }: WeightLayerDocument): string {
  const shape = weight?.shape ?? []
  const parts: string[] = []
  const plain = /^(linear|dense)$/i.test(kind)
  if (!plain && kind) parts.push(kind)
  if (shape.length > 2) parts.push(`${formatCount(shape[1]!)} → ${formatCount(shape[0]!)}`, shape.slice(2).join(' × '))
  else if (shape.length === 2) parts.push(`${formatCount(inputs ?? shape[1]!)} → ${formatCount(outputs ?? shape[0]!)}`)
  else if (shape.length === 1) parts.push(formatCount(shape[0]!))
  if (activation) parts.push(activation)
  return parts.join(' · ')
}

/** The layers whose values are kept, in running order. */
export function layerViews(detail: RunDetail, kind: Kind, graph: Pick<GraphDocument, 'layers'> | null): LayerView[] {
  const films = new Map(detail.tensors.filter((t) => t.frames > 0).map((t) => [t.series, t]))
  const of = (t: TensorDocument | null) => (t ? (films.get(`${kind}/${t.name}`) ?? null) : null)
  const views: LayerView[] = []
  const begun = new Set<string>()
  for (const layer of detail.layers) {
    const weight = of(layer.weight)
    const bias = of(layer.bias)
    const main = weight ?? bias
    if (!main?.shape) continue
    const { rows, columns } = matrixShape(main.shape)
    const model = modelOf(layer.layer, detail.recorder)
    views.push({
      layer: layer.layer,
      about: aboutLayer(layer),
      weight: main,
      bias: weight ? bias : null,
      others: layer.others.map(of).filter((t) => t !== null),
      rows,
      columns,
      tiles: tileShape(main.shape, networkInput(graph, model), !begun.has(model)),
    })
    begun.add(model)
  }
  return views
}

/** How a number of a layer is called: unit and input, or the place in a kernel. */
export function elementPlace(view: LayerView, element: number): { unit: number; rest: number } {
  return { unit: Math.floor(element / view.columns), rest: element % view.columns }
}

/** Kernels of more inputs than colours can show as they are. */
export function isDeep(shape: readonly number[] | null): boolean {
  return shape?.length === 4 && shape[1]! > 3 && shape[2]! * shape[3]! > 1
}
