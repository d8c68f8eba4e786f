/** What the page of a network says of a layer in one line. */
import type { GraphDocument, LayerDocument } from '../../wire/types'

/** How the weights of a layer began. */
export function initialiserOf(layer: LayerDocument): string {
  const all = layer.parameters.filter((p) => p.role !== 'buffer' && p.initializer)
  return [...new Set(all.map((p) => p.initializer!))].join(' · ')
}

/** Whether a layer fits a search. */
export function fits(layer: LayerDocument, search: string): boolean {
  return !search || `${layer.layer_id} ${layer.kind} ${layer.activation ?? ''}`.toLowerCase().includes(search)
}

/** How many layers there are: those with parameters, or where nothing is known of these, all modules. */
export function layerCount(graph: GraphDocument): number {
  const held = graph.layers.filter((l) => l.parameters.length).length
  return held || graph.layers.filter((l) => l.role === 'module').length
}
