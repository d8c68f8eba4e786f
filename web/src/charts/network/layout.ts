/**
 * Where everything stands: each open group is laid out by itself, from the innermost out, and put into its parent as
 * one box. Skip connections that hand on what they take are left out of that and drawn as arcs beside the main line.
 */

import dagre from '@dagrejs/dagre'
import { lanes } from '../graph/lanes'
import { IN, OUT, type Scene, type SceneGroup } from './scene'

export interface Box {
  readonly id: string
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
  /** Whether it holds others. */
  readonly open: boolean
}

export interface Way {
  /** Ids of its two boxes, as in the scene; the group whose arrows it is one of. */
  readonly from: string
  readonly to: string
  readonly group: string
  readonly skip: boolean
  /** Whether it goes round beside the others. */
  readonly arc: boolean
  /** x0, y0, x1, y1, ... */
  readonly points: readonly number[]
}

export interface Layout {
  readonly width: number
  readonly height: number
  readonly boxes: readonly Box[]
  readonly ways: readonly Way[]
}

const HEAD = 26
const PAD = 12
const PORT = 4
const GAP_X = 24
const GAP_Y = 22
const LANE = 9
const LANE_FIRST = 14

interface Placed {
  width: number
  height: number
  /** Boxes directly inside, by id. */
  boxes: Map<string, { x: number; y: number; width: number; height: number }>
  ways: { from: string; to: string; skip: boolean; arc: boolean; points: number[] }[]
  /** Where arrows come in and leave, from the left edge. */
  in: number | null
  out: number | null
}

export function layOut(scene: Scene): Layout {
  const placed = new Map<string, Placed>()
  for (const group of scene.groups) placed.set(group.id, layGroup(group, placed))
  const boxes: Box[] = []
  const ways: Way[] = []
  const put = (id: string, x: number, y: number) => {
    const group = placed.get(id)!
    for (const [name, b] of group.boxes) {
      const open = placed.has(name)
      boxes.push({ id: name, x: x + b.x, y: y + b.y, width: b.width, height: b.height, open })
      if (open) put(name, x + b.x, y + b.y)
    }
    for (const way of group.ways)
      ways.push({ ...way, group: id, points: way.points.map((v, i) => v + (i % 2 ? y : x)) })
  }
  put('', 0, 0)
  const { width, height } = placed.get('')!
  return { width, height, boxes, ways }
}

function layGroup(group: SceneGroup, inner: ReadonlyMap<string, Placed>): Placed {
  const isRoot = group.id === ''
  const g = new dagre.graphlib.Graph()
  g.setGraph({ rankdir: 'TB', nodesep: GAP_X, ranksep: GAP_Y, edgesep: 10, marginx: 0, marginy: 0 })
  g.setDefaultEdgeLabel(() => ({}))
  const size = new Map<string, { width: number; height: number }>()
  for (const box of group.boxes) {
    const open = inner.get(box.id)
    size.set(box.id, open ? { width: open.width, height: open.height } : { width: box.width, height: box.height })
  }
  for (const port of [IN, OUT]) if (group.edges.some((e) => e.from === port || e.to === port)) size.set(port, { width: PORT, height: PORT }) // prettier-ignore
  for (const [id, s] of size) g.setNode(id, { ...s })
  const arcs = arcsOf(group)
  for (const edge of group.edges) if (!arcs.has(edge)) g.setEdge(edge.from, edge.to, { weight: edge.skip ? 1 : 4 })
  dagre.layout(g)

  const top = isRoot ? PAD : HEAD
  const boxes: Placed['boxes'] = new Map()
  let right = 0
  let bottom = 0
  let left = Infinity
  for (const id of size.keys()) {
    const n = g.node(id) as { x: number; y: number; width: number; height: number }
    left = Math.min(left, n.x - n.width / 2)
    right = Math.max(right, n.x + n.width / 2)
    bottom = Math.max(bottom, n.y + n.height / 2)
  }
  for (const e of g.edges()) for (const p of pointsOf(g.edge(e))) {
      left = Math.min(left, p.x)
      right = Math.max(right, p.x)
    } // prettier-ignore
  if (!Number.isFinite(left)) left = 0
  const dx = PAD - left
  // A port takes a row of its own: it is moved under the head of the group, and out of its lower edge.
  const dy = top - (size.has(IN) ? 8 : isRoot ? 0 : -PAD)
  const ends = new Map<string, { x: number; y: number; width: number; height: number }>()
  for (const [id, s] of size) {
    const n = g.node(id) as { x: number; y: number }
    const b = { x: n.x - s.width / 2 + dx, y: n.y - s.height / 2 + dy, ...s }
    ends.set(id, b)
    if (id !== IN && id !== OUT) boxes.set(id, b)
  }
  const height = bottom + dy + (size.has(OUT) ? -2 : PAD)
  const ways: Placed['ways'] = []
  for (const edge of group.edges) {
    if (arcs.has(edge)) continue
    const label: unknown = g.edge(edge.from, edge.to)
    const between = pointsOf(label).slice(1, -1)
    const [from, to] = [ends.get(edge.from)!, ends.get(edge.to)!]
    const up = from.y > to.y
    const start = { x: outX(edge.from, from, inner), y: up ? from.y : from.y + from.height }
    const end = { x: inX(edge.to, to, inner), y: up ? to.y + to.height : to.y }
    if (edge.from === IN) start.y = HEAD
    if (edge.to === OUT) end.y = height
    const mid = between.flatMap((p) => [p.x + dx, p.y + dy])
    ways.push({ from: edge.from, to: edge.to, skip: edge.skip, arc: false, points: [start.x, start.y, ...mid, end.x, end.y] }) // prettier-ignore
  }
  const edge = right + dx
  const far = drawArcs([...arcs], ends, edge, ways, inner)
  const port = (id: string) => (ends.has(id) ? ends.get(id)!.x + PORT / 2 : null)
  return { width: Math.max(edge, far, group.head - PAD) + PAD, height, boxes, ways, in: port(IN), out: port(OUT) }
}

/** Where an arrow arrives at a box: at the middle, at an open group where its own arrows begin. */
function inX(id: string, box: { x: number; width: number }, inner: ReadonlyMap<string, Placed>): number {
  return box.x + (inner.get(id)?.in ?? box.width / 2)
}
function outX(id: string, box: { x: number; width: number }, inner: ReadonlyMap<string, Placed>): number {
  return box.x + (inner.get(id)?.out ?? box.width / 2)
}

function pointsOf(label: unknown): { x: number; y: number }[] {
  return (label as { points?: { x: number; y: number }[] } | undefined)?.points ?? []
}

/** Skips that another way leads round: their ends hold without them. */
function arcsOf({ edges }: SceneGroup): Set<SceneGroup['edges'][number]> {
  const next = new Map<string, string[]>()
  for (const e of edges) {
    const list = next.get(e.from)
    if (list) list.push(e.to)
    else next.set(e.from, [e.to])
  }
  const reaches = (start: string, end: string) => {
    const seen = new Set<string>()
    const todo = (next.get(start) ?? []).filter((n) => n !== end)
    while (todo.length) {
      const at = todo.pop()!
      if (at === end) return true
      if (seen.has(at)) continue
      seen.add(at)
      todo.push(...(next.get(at) ?? []))
    }
    return false
  }
  return new Set(edges.filter((e) => e.skip && reaches(e.from, e.to)))
}

/** Arcs right of all boxes that stand between their ends, short ones inside long ones. Gives how far they reach. */
function drawArcs(
  arcs: readonly SceneGroup['edges'][number][],
  ends: ReadonlyMap<string, { x: number; y: number; width: number; height: number }>,
  edge: number,
  ways: Placed['ways'],
  inner: ReadonlyMap<string, Placed>,
): number {
  const spans = arcs.map((a) => {
    const [from, to] = [ends.get(a.from)!, ends.get(a.to)!]
    return { from: from.y + from.height / 2, to: to.y + to.height / 2 }
  })
  const lane = lanes(spans.map(({ from, to }) => ({ from, to: to === from ? from + 1 : to })))
  let far = edge
  arcs.forEach((arc, i) => {
    const [from, to] = [ends.get(arc.from)!, ends.get(arc.to)!]
    const [low, high] = [Math.min(from.y, to.y), Math.max(from.y + from.height, to.y + to.height)]
    let clear = Math.max(from.x + from.width, to.x + to.width)
    for (const b of ends.values()) if (b.y < high && b.y + b.height > low) clear = Math.max(clear, b.x + b.width)
    const x = clear + LANE_FIRST + lane[i]! * LANE
    far = Math.max(far, x)
    // Out of the head of the group it leads straight to the side.
    const start = arc.from === IN ? [from.x + PORT / 2, HEAD] : [from.x + from.width, from.y + from.height - Math.min(10, from.height / 2)] // prettier-ignore
    const y0 = arc.from === IN ? HEAD + 6 : start[1]!
    const y1 = arc.to === OUT ? to.y - 4 : inner.has(arc.to) ? to.y + HEAD / 2 : to.y + Math.min(10, to.height / 2)
    const end = arc.to === OUT ? [to.x + PORT / 2, y1] : [to.x + to.width, y1]
    ways.push({ from: arc.from, to: arc.to, skip: true, arc: true, points: [start[0]!, start[1]!, start[0]!, y0, x, y0, x, y1, end[0]!, end[1]!] }) // prettier-ignore
  })
  return far
}
