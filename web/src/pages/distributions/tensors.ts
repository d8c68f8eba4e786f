/** Which tensors the Distributions page shows, and in what order. */

import type { GraphDocument, RunDetail, TensorDocument } from '../../wire/types'

export const GROUPS = ['weight', 'bias', 'grad', 'act', 'other', 'hist'] as const
export type Group = (typeof GROUPS)[number]

export const isGroup = (name: string): name is Group => (GROUPS as readonly string[]).includes(name)

export interface TensorView {
  readonly tensor: TensorDocument
  readonly group: Group
}

/** Tensors with histograms, in the order of the layers: weight, gradient, activations; logged histograms after all. */
export function tensorViews(detail: RunDetail, graph: Pick<GraphDocument, 'layers'> | null = null): TensorView[] {
  const weights = new Set<string>()
  const biases = new Set<string>()
  const order = new Map<string, number>()
  const place = (name: string | undefined) => name !== undefined && !order.has(name) && order.set(name, order.size)
  for (const layer of graph?.layers ?? []) {
    for (const parameter of layer.parameters) place(parameter.name)
    place(layer.layer_id)
  }
  for (const layer of detail.layers) {
    if (layer.weight) weights.add(layer.weight.name)
    if (layer.bias) biases.add(layer.bias.name)
    place(layer.weight?.name)
    place(layer.bias?.name)
    for (const other of layer.others) place(other.name)
    place(layer.layer)
  }
  const groupOf = ({ kind, name }: TensorDocument): Group => {
    if (kind !== 'param') return kind === 'lens' ? 'other' : kind
    if (weights.has(name)) return 'weight'
    if (biases.has(name)) return 'bias'
    return /(^|\.)weight$/.test(name) ? 'weight' : /(^|\.)bias$/.test(name) ? 'bias' : 'other'
  }
  const kinds = ['param', 'grad', 'act', 'hist']
  return detail.tensors
    .filter((t) => t.rows > 0)
    .map((tensor, i) => ({ tensor, group: groupOf(tensor), i }))
    .sort((a, b) => {
      const at = (order.get(a.tensor.name) ?? Infinity) - (order.get(b.tensor.name) ?? Infinity)
      // Infinity less Infinity is NaN, which counts as no difference.
      return at || kinds.indexOf(a.tensor.kind) - kinds.indexOf(b.tensor.kind) || a.i - b.i
    })
    .map(({ tensor, group }) => ({ tensor, group }))
}

/** What is left after the filters, sorted. Words of the search may stand in any order. */
export function chosenTensors(
  views: readonly TensorView[],
  options: { groups: ReadonlySet<Group>; search: string; byChange: boolean },
): TensorView[] {
  const parts = options.search.toLowerCase().split(/\s+/).filter(Boolean)
  const kept = views.filter(
    ({ tensor, group }) =>
      (options.groups.size === 0 || options.groups.has(group)) &&
      parts.every((p) => tensor.series.toLowerCase().includes(p)),
  )
  if (!options.byChange) return kept
  return kept.sort((a, b) => (b.tensor.change ?? -1) - (a.tensor.change ?? -1))
}
