/** What is written in the boxes of a network, and how large they are for it. */

import { formatCount, formatShape } from '../../maths/numbers'
import type { GraphDocument } from '../../wire/types'
import { pageWords } from '../../words.pages'
import { pageFont } from '../pen'
import type { TreeNode } from './tree'

export interface Label {
  readonly title: string
  /** How many equal blocks it stands for. */
  readonly times: number
  /** The second line; none in a small box. */
  readonly text: string
  readonly small: boolean
}

export const TITLE_SIZE = 12
export const TEXT_SIZE = 11
export const CHEVRON = 18
const SIDE = 12
const LONGEST = 34

const cut = (text: string) => (text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text)

export function labelOf(node: TreeNode, graph: GraphDocument): Label {
  const times = node.type === 'fold' ? node.children.length : 1
  if (node.type !== 'layer') {
    const text = [node.name, node.parameters ? formatCount(node.parameters) : ''].filter(Boolean).join(' · ')
    return { title: cut(node.kind), times, text: cut(text), small: false }
  }
  const layer = graph.layers[node.layers[0]!]!
  const shape = layer.outputs[0] ?? (layer.role === 'output' ? layer.inputs[0] : null) ?? null
  if (layer.role === 'input' || layer.role === 'output') {
    const title = layer.role === 'input' ? layer.layer_id : layer.kind
    return { title: cut(title), times, text: shape ? formatShape(shape) : '', small: false }
  }
  // Of some files only the names of parameters are known.
  if (layer.parameters.length === 0 && !layer.attributes.tensors)
    return { title: cut(layer.kind), times, text: '', small: true }
  const activation = hasOwnBox(graph).has(layer.layer_id) ? null : layer.activation
  const unused = layer.attributes.used === false ? pageWords.network.unused : ''
  const text = [node.name, unused, shape ? formatShape(shape) : ''].filter(Boolean).join(' · ')
  return {
    title: cut([layer.kind, activation].filter(Boolean).join(' · ')),
    times,
    text: cut(text),
    small: false,
  }
}

const followed = new WeakMap<GraphDocument, ReadonlySet<string>>()

/** Layers whose activation is drawn as a box of its own: they need not say it. */
function hasOwnBox(graph: GraphDocument): ReadonlySet<string> {
  const known = followed.get(graph)
  if (known) return known
  const before = new Map<string, string[]>()
  for (const e of graph.edges) {
    const list = before.get(e.target)
    if (list) list.push(e.source)
    else before.set(e.target, [e.source])
  }
  const out = new Set<string>()
  for (const layer of graph.layers) {
    if (typeof layer.attributes.activates !== 'string') continue
    // The layer that it activates, also behind a norm or a dropout.
    let at = before.get(layer.layer_id)
    for (let left = 4; at?.length === 1 && left > 0; left--) {
      out.add(at[0]!)
      at = before.get(at[0]!)
    }
  }
  followed.set(graph, out)
  return out
}

let pen: CanvasRenderingContext2D | null | undefined
const widths = new Map<string, number>()

function widthOf(text: string, size: number, weight: number): number {
  const key = `${size} ${weight} ${text}`
  const known = widths.get(key)
  if (known !== undefined) return known
  if (pen === undefined)
    pen = typeof document === 'undefined' ? null : document.createElement('canvas').getContext('2d')
  if (pen) pen.font = `${weight} ${size}px ${pageFont()}`
  const width = pen ? pen.measureText(text).width : text.length * size * 0.55
  widths.set(key, width)
  return width
}

/** How wide the head of an open group is. */
export function headOf(node: TreeNode, graph: GraphDocument): number {
  const { title, times } = labelOf(node, graph)
  const written = widthOf(`${title} ${times > 1 ? `×${times} ` : ''}`, TITLE_SIZE, 600)
  return Math.ceil(written + widthOf(node.name, TITLE_SIZE, 400) + CHEVRON + 2 * SIDE)
}

/** How large the box of a node is that is not open. */
export function sizeOf(node: TreeNode, graph: GraphDocument): { width: number; height: number } {
  const { title, times, text, small } = labelOf(node, graph)
  const head = widthOf(title, TITLE_SIZE, 600) + (times > 1 ? widthOf(` ×${times}`, TITLE_SIZE, 600) : 0)
  const wide = Math.max(head, widthOf(text, TEXT_SIZE, 400)) + 2 * SIDE
  const extra = node.type === 'layer' ? 0 : CHEVRON + (node.skips ? 16 : 0)
  return { width: Math.ceil(Math.max(small ? 56 : 112, wide + extra)), height: small ? 24 : 42 }
}
