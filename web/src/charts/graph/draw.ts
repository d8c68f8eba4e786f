/** A network as a picture for saving: layers from top to bottom, arrows beside them. */

import type { Ink } from '../ink'
import type { Pen } from '../pen'
import { lanes } from './lanes'
import { bendPoints, laneStep } from './way'

export interface NetworkPicture {
  readonly nodes: readonly {
    readonly name: string
    readonly kind: string
    readonly shape: string
    readonly count: string
    readonly fill: string | null
    readonly small: boolean
  }[]
  readonly spine: ReadonlySet<number>
  readonly arrows: readonly { readonly source: number; readonly target: number }[]
}

const ROW = 40
const MARGIN = 16
const TEXT = 560

export function networkSize(picture: NetworkPicture): { width: number; height: number } {
  return { width: column(picture).x + 24 + TEXT + MARGIN, height: picture.nodes.length * ROW + 2 * MARGIN }
}

function column({ arrows }: NetworkPicture): { x: number; lane: number[]; step: number } {
  const lane = lanes(arrows.map((a) => ({ from: a.source, to: a.target })))
  const most = Math.max(0, ...lane.map((l) => l + 1))
  const step = laneStep(most)
  return { x: MARGIN + 14 + most * step, lane, step }
}

export function drawNetwork(pen: Pen, ink: Ink, picture: NetworkPicture): void {
  const { nodes, spine, arrows } = picture
  const { width, height } = networkSize(picture)
  const { x, lane, step } = column(picture)
  const middle = (row: number) => MARGIN + row * ROW + ROW / 2
  const radius = (row: number) => (nodes[row]?.small ? 3.5 : 6)
  pen.rect(0, 0, width, height, ink.panel)
  arrows.forEach(({ source, target }, i) => {
    const side = x - 10 - (lane[i]! + 1) * step
    const to = middle(target) - 3
    const short = radius(target) + 4
    pen.line(bendPoints({ from: middle(source) + 3, to, x, side, short }), { color: ink.soft, width: 1.5 })
    pen.area([x - short, to - 3.5, x - short + 5, to, x - short, to + 3.5], ink.soft)
  })
  for (const row of spine) {
    pen.line([x, middle(row) + radius(row), x, middle(row + 1) - radius(row + 1)], { color: ink.faint, width: 1.5 })
  }
  nodes.forEach((node, row) => {
    const y = middle(row)
    pen.dots([x, y], radius(row) + 0.75, ink.soft)
    pen.dots([x, y], radius(row) - 0.75, node.fill ?? ink.panel)
    pen.text(node.name, x + 24, y - 7, { color: ink.ink, size: 13, weight: node.small ? 400 : 600, base: 'middle' })
    pen.text(node.kind, x + 24, y + 8, { color: ink.soft, size: 11, base: 'middle' })
    pen.text(node.shape, x + 24 + 380, y, { color: ink.soft, size: 12, align: 'right', base: 'middle' })
    pen.text(node.count, x + 24 + TEXT - 20, y, { color: ink.ink, size: 12, align: 'right', base: 'middle' })
  })
}
