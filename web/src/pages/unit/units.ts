/** What is known of a layer's units: weights in and out, in the order in which the network runs. */
import type { GraphDocument, RunDetail, TensorDocument, WeightLayerDocument } from '../../wire/types'

/** A layer whose units can be looked at. */
export interface UnitLayer {
  readonly layer: string
  readonly about: WeightLayerDocument
  readonly weight: TensorDocument
  readonly bias: TensorDocument | null
  readonly units: number
  /** Numbers that come into one unit. */
  readonly inputs: number
  /** Whether it takes what the network takes. */
  readonly first: boolean
}

/** Layers with weights [units, inputs, ...] of which frames are kept. */
export function unitLayers(detail: Pick<RunDetail, 'layers'>): UnitLayer[] {
  const found: UnitLayer[] = []
  for (const about of detail.layers) {
    const { weight, bias } = about
    const shape = weight?.shape
    if (!weight || weight.frames === 0 || !shape || shape.length < 2) continue
    const units = shape[0]!
    const own = bias?.frames && bias.shape?.length === 1 && bias.shape[0] === units ? bias : null
    const inputs = shape.slice(1).reduce((n, s) => n * s, 1)
    found.push({ layer: about.layer, about, weight, bias: own, units, inputs, first: found.length === 0 })
  }
  return found
}

/**
 * The layers that a layer's output comes to first, as the arrows of the graph say. Without arrows the next one of which
 * the sizes fit.
 */
export function following(
  layers: readonly UnitLayer[],
  layer: UnitLayer,
  graph: Pick<GraphDocument, 'layers' | 'edges'> | null,
): UnitLayer[] {
  const byName = new Map(layers.map((l) => [l.layer, l]))
  if (!graph?.edges.length) {
    const next = layers[layers.indexOf(layer) + 1]
    return next && meets(next, layer.units) ? [next] : []
  }
  const after = new Map<string, string[]>()
  for (const { source, target } of graph.edges) after.set(source, [...(after.get(source) ?? []), target])
  const found: UnitLayer[] = []
  const seen = new Set([layer.layer])
  const waiting = [...(after.get(layer.layer) ?? [])]
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    if (seen.has(name)) continue
    seen.add(name)
    const other = byName.get(name)
    if (other) {
      if (meets(other, layer.units)) found.push(other)
    } else waiting.push(...(after.get(name) ?? []))
  }
  return found
}

const meets = (next: UnitLayer, units: number) => next.weight.shape![1]! % units === 0

/** Elements of a following weight that meet a unit: for each output, `places` numbers side by side. */
export function outgoingElements(
  next: UnitLayer,
  units: number,
  unit: number,
): { places: number; elements: Int32Array } {
  const shape = next.weight.shape!
  // Channels that were flattened come to a dense layer as blocks of places.
  const places = (shape[1]! / units) * shape.slice(2).reduce((n, s) => n * s, 1)
  const elements = new Int32Array(next.units * places)
  for (let o = 0; o < next.units; o++) {
    for (let p = 0; p < places; p++) elements[o * places + p] = o * next.inputs + unit * places + p
  }
  return { places, elements }
}

/** The layer before a dense one, whose units its inputs are; null for the first one and where that is not known. */
export function preceding(
  layers: readonly UnitLayer[],
  layer: UnitLayer,
  graph: Pick<GraphDocument, 'layers' | 'edges'> | null,
): UnitLayer | null {
  const before = layers.filter((l) => l !== layer && following(layers, l, graph).includes(layer))
  const only = before.length === 1 ? before[0]! : null
  return only && layer.weight.shape![1] === only.units ? only : null
}
