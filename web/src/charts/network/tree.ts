/**
 * A network as a tree: groups of layers, and in them blocks of one structure that follow one another folded to one.
 */

import type { GraphDocument, LayerDocument } from '../../wire/types'

export interface TreeNode {
  /** Unique in the tree: the layer's or the group's id, of folded blocks `first…last`. The network itself is "". */
  readonly id: string
  readonly kind: string
  /** The last part of its name. */
  readonly name: string
  readonly type: 'layer' | 'group' | 'fold'
  readonly parent: TreeNode | null
  readonly children: readonly TreeNode[]
  /** Indices of all layers inside, or of the one that it is. */
  readonly layers: readonly number[]
  readonly parameters: number
  readonly multiplyAdds: number
  /** Skip connections that begin and end inside. */
  readonly skips: number
}

export interface Tree {
  readonly root: TreeNode
  readonly nodes: ReadonlyMap<string, TreeNode>
  /** The node of each layer. */
  readonly leaves: readonly TreeNode[]
}

type Draft = {
  -readonly [K in keyof TreeNode]: K extends 'children' ? Draft[] : K extends 'parent' ? Draft | null : TreeNode[K]
}

const lastPart = (id: string) => id.slice(Math.max(id.lastIndexOf('.'), id.lastIndexOf('/')) + 1)

/** Makes the tree of a network; with `fold`, equal blocks beside one another are one. */
export function makeTree(graph: GraphDocument, fold = true): Tree {
  const root = draft('', graph.model, 'group')
  const groups = new Map<string, Draft>([['', root]])
  for (const g of graph.groups) groups.set(g.group_id, draft(g.group_id, g.kind, 'group'))
  const parentOf = new Map(graph.groups.map((g) => [g.group_id, g.parent]))
  const placed = new Set<Draft>([root])
  const place = (node: Draft, parentId: string) => {
    if (placed.has(node)) return
    placed.add(node)
    const parent = groups.get(parentId) ?? root
    if (parent !== root) place(parent, parentOf.get(parent.id) ?? '')
    node.parent = parent
    parent.children.push(node)
  }
  const leaves = graph.layers.map((layer, i) => {
    const leaf = draft(layer.layer_id, layer.kind, 'layer')
    leaf.layers = [i]
    place(leaf, layer.group)
    return leaf
  })
  const inside = skipsInside(graph)
  measure(root, graph, inside)
  if (fold) foldEqual(root, graph, new Map())
  const nodes = new Map<string, TreeNode>()
  const list = (node: Draft) => {
    nodes.set(node.id, node)
    node.children.forEach(list)
  }
  list(root)
  return { root, nodes, leaves }
}

function draft(id: string, kind: string, type: TreeNode['type']): Draft {
  const name = lastPart(id)
  return { id, kind: kind || name, name, type, parent: null, children: [], layers: [], parameters: 0, multiplyAdds: 0, skips: 0 } // prettier-ignore
}

/** Of each skip connection the layers at its two ends. */
function skipsInside(graph: GraphDocument): readonly (readonly [number, number])[] {
  const at = new Map(graph.layers.map((l, i) => [l.layer_id, i]))
  const joined = new Map<string, string[]>()
  for (const e of graph.edges) (joined.get(e.source) ?? joined.set(e.source, []).get(e.source)!).push(e.target)
  return graph.skips.map(({ source, target, through }) => {
    // A block's skip begins with what came into the block, so its first own layer tells where it is at home.
    const first = through[0] ?? (joined.get(source) ?? []).find((t) => t !== target) ?? source
    return [at.get(first) ?? -1, at.get(target) ?? -1] as const
  })
}

function measure(node: Draft, graph: GraphDocument, skips: readonly (readonly [number, number])[]): void {
  for (const child of node.children) measure(child, graph, skips)
  if (node.type !== 'layer') {
    node.layers = node.children.flatMap((c) => c.layers).sort((a, b) => a - b)
    node.children.sort((a, b) => a.layers[0]! - b.layers[0]!)
  }
  const seen = new Set<string>()
  for (const i of node.layers) {
    const layer = graph.layers[i]!
    node.multiplyAdds += layer.multiply_adds ?? 0
    for (const p of layer.parameters) {
      if (p.role === 'buffer' || seen.has(p.name)) continue
      seen.add(p.name)
      node.parameters += p.size
    }
  }
  if (node.type !== 'layer') {
    const own = new Set(node.layers)
    node.skips = skips.filter(([from, to]) => own.has(from) && own.has(to)).length
  }
}

/** What a block is made of, without its name: two blocks with one signature look alike. */
function signature(node: Draft, graph: GraphDocument, known: Map<Draft, string>): string {
  const kept = known.get(node)
  if (kept !== undefined) return kept
  const text =
    node.type === 'layer'
      ? layerSignature(graph.layers[node.layers[0]!]!)
      : `${node.kind}(${node.children.map((c) => signature(c, graph, known)).join(';')})`
  known.set(node, text)
  return text
}

function layerSignature(layer: LayerDocument): string {
  const settings = Object.entries(layer.attributes).filter(([name]) => name !== 'activates')
  const shapes = [layer.inputs, layer.outputs, layer.parameters.map((p) => p.shape)]
  return JSON.stringify([layer.kind, layer.activation, settings, shapes])
}

function foldEqual(node: Draft, graph: GraphDocument, known: Map<Draft, string>): void {
  for (const child of node.children) foldEqual(child, graph, known)
  const out: Draft[] = []
  for (let i = 0; i < node.children.length;) {
    const first = node.children[i]!
    let end = i + 1
    if (first.type === 'group') {
      const own = signature(first, graph, known)
      while (
        end < node.children.length &&
        node.children[end]!.type === 'group' &&
        signature(node.children[end]!, graph, known) === own
      )
        end++
    }
    const run = node.children.slice(i, end)
    i = end
    // A network that is nothing but one run of blocks is shown as the run.
    if (run.length < 2) {
      out.push(first)
      continue
    }
    const last = run.at(-1)!
    const folded = draft(`${first.id}…${last.id}`, first.kind, 'fold')
    folded.name = `${first.name} … ${last.name}`
    folded.parent = node
    folded.children = run
    folded.layers = run.flatMap((r) => r.layers).sort((a, b) => a - b)
    folded.parameters = run.reduce((n, r) => n + r.parameters, 0)
    folded.multiplyAdds = run.reduce((n, r) => n + r.multiplyAdds, 0)
    folded.skips = run.reduce((n, r) => n + r.skips, 0)
    for (const r of run) r.parent = folded
    out.push(folded)
  }
  node.children = out
}

/** How many boxes are on the screen when these groups are open. */
export function visibleCount(node: TreeNode, open: ReadonlySet<string>): number {
  let n = 0
  for (const child of node.children)
    n += child.type !== 'layer' && open.has(child.id) ? visibleCount(child, open) + 1 : 1
  return n
}

/** Groups that are open at first: outer ones as long as the picture stays small, and one block that has a skip. */
export function openAtFirst({ root }: Tree, most = 32): Set<string> {
  const open = new Set<string>()
  let level = root.children.filter((c) => c.type !== 'layer')
  while (level.length) {
    const next: TreeNode[] = []
    for (const node of level) {
      // Blocks that are folded stay so: that they are equal is what is to be seen.
      if (node.type === 'fold') continue
      open.add(node.id)
      if (visibleCount(root, open) > most) open.delete(node.id)
      else next.push(...node.children.filter((c) => c.type !== 'layer'))
    }
    level = next
  }
  if (![...open].some((id) => find(root, id)?.skips && !hasClosedSkips(find(root, id)!, open))) {
    const way = firstWithSkip(root)
    for (const node of way) open.add(node.id)
    if (visibleCount(root, open) > 2 * most) for (const node of way) open.delete(node.id)
  }
  return open
}

function find(node: TreeNode, id: string): TreeNode | null {
  if (node.id === id) return node
  for (const child of node.children) {
    const found = find(child, id)
    if (found) return found
  }
  return null
}

/** Whether all skips of a group are hidden in closed ones inside. */
function hasClosedSkips(node: TreeNode, open: ReadonlySet<string>): boolean {
  const hidden = node.children.reduce((n, c) => n + (c.type !== 'layer' && !open.has(c.id) ? c.skips : 0), 0)
  const opened = node.children.filter((c) => c.type !== 'layer' && open.has(c.id))
  const shown = opened.some((c) => c.skips > 0 && !hasClosedSkips(c, open))
  return !shown && hidden + opened.reduce((n, c) => n + c.skips, 0) >= node.skips
}

/** The way from the root to the first block with a skip connection of its own. */
function firstWithSkip(node: TreeNode): TreeNode[] {
  if (node.skips === 0) return []
  const inside = node.children.reduce((n, c) => n + c.skips, 0)
  if (inside < node.skips) return node.parent ? [node] : []
  const next = node.children.find((c) => c.skips > 0)
  return next ? [...(node.parent ? [node] : []), ...firstWithSkip(next)] : []
}

/** The groups around a node, outermost first. */
export function around(node: TreeNode): TreeNode[] {
  const out: TreeNode[] = []
  for (let at = node.parent; at && at.parent; at = at.parent) out.unshift(at)
  return out
}
