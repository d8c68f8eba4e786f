/** Draws the lines of a chart on uPlot's canvas, and the dots under the mouse on the one above it. */
import type uPlot from 'uplot'
import { nearestPoint, pathPoints, type Line, type Range } from './lines'

/** A dot further than this from the mouse, in pixels, would belong to a run that ended before. */
const DOT_REACH = 24
/** Radius, in pixels, of the dot of a curve that has no other point. */
export const ONLY_POINT = 4

export function strokeLines(u: uPlot, lines: readonly Line[], range: Range, yLog: boolean): void {
  const pen = u.ctx
  const { left, top, width, height } = u.bbox
  const ratio = devicePixelRatio || 1
  const px = (v: number) => u.valToPos(v, 'x', true)
  const py = (v: number) => u.valToPos(v, 'y', true)
  const points = (line: Line, y: Float64Array) => pathPoints(line, y, range, px, py, yLog)
  pen.save()
  pen.beginPath()
  pen.rect(left, top - 1, width, height + 2)
  pen.clip()
  pen.lineJoin = 'round'
  for (const line of [...lines].sort((a, b) => Number(a.main) - Number(b.main))) {
    pen.strokeStyle = pen.fillStyle = line.colour
    if (line.band) fillBand(pen, points(line, line.band.high), points(line, line.band.low))
    if (line.raw) {
      pen.globalAlpha = 0.25
      pen.lineWidth = ratio
      stroke(pen, points(line, line.raw), ratio)
    }
    pen.globalAlpha = line.thin ? 0.4 : line.main ? 1 : 0.85
    pen.lineWidth = (line.thin ? 0.75 : line.main ? 1.75 : 1.25) * ratio
    stroke(pen, points(line, line.y), ratio)
  }
  pen.restore()
}

function fillBand(pen: CanvasRenderingContext2D, high: readonly number[], low: readonly number[]): void {
  pen.globalAlpha = 0.15
  pen.beginPath()
  for (let i = 0; i < high.length; i += 2) if (!Number.isNaN(high[i]!)) pen.lineTo(high[i]!, high[i + 1]!)
  for (let i = low.length - 2; i >= 0; i -= 2) if (!Number.isNaN(low[i]!)) pen.lineTo(low[i]!, low[i + 1]!)
  pen.fill()
}

/** A point that stands alone between gaps is a dot, a curve of one point a larger one: the playhead may lie over it. */
function stroke(pen: CanvasRenderingContext2D, points: readonly number[], ratio: number): void {
  pen.beginPath()
  const dots = new Path2D()
  const radius = points.length === 2 ? ONLY_POINT * ratio : 1.5 * ratio
  let run = 0
  for (let i = 0; i <= points.length; i += 2) {
    if (i === points.length || Number.isNaN(points[i]!)) {
      if (run === 1) {
        dots.moveTo(points[i - 2]! + radius, points[i - 1]!)
        dots.arc(points[i - 2]!, points[i - 1]!, radius, 0, 2 * Math.PI)
      }
      run = 0
    } else if (run++ === 0) pen.moveTo(points[i]!, points[i + 1]!)
    else pen.lineTo(points[i]!, points[i + 1]!)
  }
  pen.stroke()
  pen.fill(dots)
}

/** A dot on each line where the mouse is. */
export function drawMarks(
  pen: CanvasRenderingContext2D,
  u: uPlot,
  lines: readonly Line[],
  hover: number,
  around: string,
): void {
  const at = u.valToPos(hover, 'x')
  for (const line of lines) {
    const i = nearestPoint(line, hover)
    if (i < 0 || !Number.isFinite(line.y[i])) continue
    const [x, y] = [u.valToPos(line.x[i]!, 'x'), u.valToPos(line.y[i]!, 'y')]
    if (Math.abs(x - at) > DOT_REACH) continue
    pen.beginPath()
    pen.arc(x, y, 3.5, 0, 2 * Math.PI)
    pen.fillStyle = line.colour
    pen.fill()
    pen.lineWidth = 1.5
    pen.strokeStyle = around
    pen.stroke()
  }
}
