/** A network's boxes and arrows as a picture for saving. */

import type { GraphDocument } from '../../wire/types'
import { inkOn } from '../../maths/colour'
import type { Ink } from '../ink'
import type { Pen } from '../pen'
import { CHEVRON, labelOf, TEXT_SIZE, TITLE_SIZE } from './label'
import type { Layout } from './layout'
import type { Tree } from './tree'
import { wayPoints } from './way'

/** Draws a layout; `fill` gives the colour of a layer, `skip` that of skip connections. */
export function drawDiagram(
  pen: Pen,
  ink: Ink,
  { graph, tree, layout, fill, skip }: { graph: GraphDocument; tree: Tree; layout: Layout; fill: (layer: number) => string | null; skip: string }, // prettier-ignore
): void {
  pen.rect(0, 0, layout.width, layout.height, ink.panel)
  const frame = (x: number, y: number, w: number, h: number, color: string) =>
    pen.line([x, y, x + w, y, x + w, y + h, x, y + h, x, y], { color })
  for (const box of layout.boxes.filter((b) => b.open)) {
    const node = tree.nodes.get(box.id)!
    const { title, times } = labelOf(node, graph)
    frame(box.x, box.y, box.width, box.height, ink.faint)
    pen.text(`${title}${times > 1 ? ` ×${times}` : ''}  ${node.name}`, box.x + 10, box.y + 17, { color: ink.soft, size: TITLE_SIZE, weight: 600 }) // prettier-ignore
  }
  for (const way of layout.ways) {
    const color = way.skip ? skip : ink.soft
    const points = wayPoints(way.points, way.arc)
    pen.line(points, { color, width: way.skip ? 2 : 1.25 })
    const [x, y] = [points.at(-2)!, points.at(-1)!]
    const [ax, ay] = [points.at(-4)!, points.at(-3)!]
    const long = Math.hypot(x - ax, y - ay) || 1
    const [ux, uy] = [(x - ax) / long, (y - ay) / long]
    pen.area([x, y, x - 6 * ux - 3 * uy, y - 6 * uy + 3 * ux, x - 6 * ux + 3 * uy, y - 6 * uy - 3 * ux], color)
  }
  for (const box of layout.boxes.filter((b) => !b.open)) {
    const node = tree.nodes.get(box.id)!
    const { title, times, text, small } = labelOf(node, graph)
    const group = node.type !== 'layer'
    const colour = group ? null : fill(node.layers[0]!)
    pen.rect(box.x, box.y, box.width, box.height, colour ?? (group ? ink.sel : ink.panel))
    frame(box.x, box.y, box.width, box.height, ink.faint)
    const written = colour ? inkOn(colour) : ink.ink
    const head = `${title}${times > 1 ? ` ×${times}` : ''}`
    if (small || !text) {
      pen.text(head, box.x + box.width / 2, box.y + box.height / 2, { color: written, size: TITLE_SIZE, align: 'center', base: 'middle' }) // prettier-ignore
    } else {
      const x = box.x + 12 + (group ? CHEVRON - 4 : 0)
      pen.text(head, x, box.y + 18, { color: written, size: TITLE_SIZE, weight: 600 })
      pen.text(text, x, box.y + 33, { color: colour ? written : ink.soft, size: TEXT_SIZE })
    }
    const strip = group ? node.layers.map(fill).filter((f) => f !== null) : []
    const wide = (box.width - 12) / Math.max(1, strip.length)
    strip.forEach((c, i) => pen.rect(box.x + 6 + i * wide, box.y + box.height - 5, wide, 4, c))
  }
}
