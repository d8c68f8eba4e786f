/** What of a network is on the screen while some groups are open: boxes inside boxes, and arrows between neighbours. */

import type { GraphDocument } from '../../wire/types'
import type { Tree, TreeNode } from './tree'

/** Where arrows come into an open group and leave it. */
export const IN = '\u2192in'
export const OUT = '\u2192out'

export interface SceneEdge {
  /** Ids of two boxes in one group, or IN and OUT. */
  readonly from: string
  readonly to: string
  /** Whether it is (a part of) a skip connection and nothing else. */
  readonly skip: boolean
}

/** An open group: the boxes in it in running order, and the arrows between them. */
export interface SceneGroup {
  readonly id: string
  /** How wide it is at least, for what is written in its head. */
  readonly head: number
  readonly boxes: readonly { readonly id: string; readonly width: number; readonly height: number }[]
  readonly edges: readonly SceneEdge[]
}

export interface Scene {
  readonly groups: readonly SceneGroup[]
}

export const isOpen = (node: TreeNode, open: ReadonlySet<string>) => node.type !== 'layer' && open.has(node.id)

/** Builds the scene; `size` is how large a box that is not open is drawn. */
export function makeScene(
  graph: GraphDocument,
  tree: Tree,
  open: ReadonlySet<string>,
  size: (node: TreeNode) => { width: number; height: number },
  head: (node: TreeNode) => number = () => 0,
): Scene {
  const edges = new Map<string, Map<string, SceneEdge>>()
  const groups: SceneGroup[] = []
  const visit = (node: TreeNode) => {
    edges.set(node.id, new Map())
    for (const child of node.children) if (isOpen(child, open)) visit(child)
  }
  visit(tree.root)
  const add = (group: TreeNode, from: string, to: string, skip: boolean) => {
    if (from === to) return
    const own = edges.get(group.id)!
    const key = `${from}\n${to}`
    const known = own.get(key)
    own.set(key, { from, to, skip: skip && (known?.skip ?? true) })
  }
  const at = new Map(graph.layers.map((l, i) => [l.layer_id, i]))
  const skipWay = skipArrows(graph)
  for (const edge of graph.edges) {
    const [s, t] = [at.get(edge.source), at.get(edge.target)]
    if (s === undefined || t === undefined) continue
    const skip = skipWay.has(`${edge.source}\n${edge.target}`)
    const from = shownPath(tree.leaves[s]!, open)
    const to = shownPath(tree.leaves[t]!, open)
    let depth = 0
    while (depth < from.length - 1 && depth < to.length - 1 && from[depth + 1] === to[depth + 1]) depth++
    if (depth === from.length - 1 || depth === to.length - 1) continue // inside a group that is closed
    for (let i = from.length - 1; i > depth + 1; i--) add(from[i - 1]!, from[i]!.id, OUT, skip)
    add(from[depth]!, from[depth + 1]!.id, to[depth + 1]!.id, skip)
    for (let i = depth + 2; i < to.length; i++) add(to[i - 1]!, IN, to[i]!.id, skip)
  }
  const list = (node: TreeNode) => {
    for (const child of node.children) if (isOpen(child, open)) list(child)
    groups.push({
      id: node.id,
      head: node.parent ? head(node) : 0,
      boxes: node.children.map((c) => ({ id: c.id, ...size(c) })),
      edges: [...edges.get(node.id)!.values()],
    })
  }
  list(tree.root)
  return { groups }
}

/** From the root to the node that is on the screen for a layer. */
function shownPath(leaf: TreeNode, open: ReadonlySet<string>): TreeNode[] {
  const path: TreeNode[] = []
  for (let at: TreeNode | null = leaf; at; at = at.parent) path.unshift(at)
  const shut = path.findIndex((n, i) => i > 0 && !isOpen(n, open))
  return shut < 0 ? path : path.slice(0, shut + 1)
}

/** The arrows that make up the ways of skip connections. */
function skipArrows(graph: GraphDocument): Set<string> {
  const ways = new Set<string>()
  const out = new Map<string, string[]>()
  for (const e of graph.edges) {
    const list = out.get(e.source)
    if (list) list.push(e.target)
    else out.set(e.source, [e.target])
    if (e.skip) ways.add(`${e.source}\n${e.target}`)
  }
  for (const { source, target, through } of graph.skips) {
    const inside = new Set(through)
    if (!inside.size) continue
    for (const one of [source, ...through])
      for (const next of out.get(one) ?? [])
        if (inside.has(next) || (next === target && one !== source)) ways.add(`${one}\n${next}`)
  }
  return ways
}
