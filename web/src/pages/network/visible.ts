/** What of a graph is drawn: all of it, or only the layers that hold parameters, joined over what lies between. */

import type { Arrow } from '../../charts/graph/lanes'
import type { EdgeDocument, GraphDocument, LayerDocument } from '../../wire/types'

export interface VisibleGraph {
  readonly layers: readonly LayerDocument[]
  /** Arrows to the row right below. */
  readonly spine: ReadonlySet<number>
  /** All others, which are drawn beside the column. */
  readonly arrows: readonly Arrow[]
}

/** Whether a layer stays when operations are hidden. */
export const isKept = (layer: LayerDocument) =>
  layer.parameters.length > 0 || layer.role === 'input' || layer.role === 'output'

export function visibleGraph(graph: Pick<GraphDocument, 'layers' | 'edges'>, operations: boolean): VisibleGraph {
  const layers = operations ? graph.layers : graph.layers.filter(isKept)
  const row = new Map(layers.map((l, i) => [l.layer_id, i]))
  const edges = operations ? graph.edges : contracted(graph.edges, row)
  const spine = new Set<number>()
  const arrows: Arrow[] = []
  const seen = new Set<string>()
  for (const { source, target, skip } of edges) {
    const [from, to] = [row.get(source), row.get(target)]
    if (from === undefined || to === undefined || from === to || seen.has(`${from} ${to}`)) continue
    seen.add(`${from} ${to}`)
    if (to === from + 1) spine.add(from)
    else arrows.push({ source: from, target: to, skip })
  }
  return { layers, spine, arrows }
}

/** Arrows between kept layers; one that leads into a hidden layer goes on to wherever that leads. */
function contracted(edges: readonly EdgeDocument[], kept: ReadonlyMap<string, number>): EdgeDocument[] {
  const next = new Map<string, EdgeDocument[]>()
  for (const edge of edges) {
    const list = next.get(edge.source)
    if (list) list.push(edge)
    else next.set(edge.source, [edge])
  }
  const out: EdgeDocument[] = []
  for (const start of kept.keys()) {
    const seen = new Set<string>()
    const todo = (next.get(start) ?? []).map((e) => ({ id: e.target, skip: e.skip }))
    while (todo.length) {
      const { id, skip } = todo.pop()!
      if (seen.has(id)) continue
      seen.add(id)
      if (kept.has(id)) out.push({ source: start, target: id, skip })
      else for (const e of next.get(id) ?? []) todo.push({ id: e.target, skip: skip || e.skip })
    }
  }
  return out
}

/** The layers before and after one. */
export function neighbours(
  graph: Pick<GraphDocument, 'edges'>,
  id: string,
): { from: EdgeDocument[]; to: EdgeDocument[] } {
  return { from: graph.edges.filter((e) => e.target === id), to: graph.edges.filter((e) => e.source === id) }
}

/** Whether all, some or none of a layer's parameters are trained; null where it has none. */
export function trained(layer: LayerDocument): 'yes' | 'no' | 'partly' | null {
  const own = layer.parameters.filter((p) => p.role !== 'buffer')
  if (own.length === 0) return null
  const n = own.filter((p) => p.trainable).length
  return n === own.length ? 'yes' : n === 0 ? 'no' : 'partly'
}
