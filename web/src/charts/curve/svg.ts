/**
 * A line chart as SVG: the same lines, with the axes of the live chart.
 * The places and texts of uPlot's ticks are not public (`_splits`, `_values`), so its version is pinned.
 */
import type uPlot from 'uplot'
import { ONLY_POINT } from './draw'
import { pathPoints, type Line, type Range } from './lines'

interface Axis {
  _splits?: (number | null)[]
  _values?: (string | null)[]
}

interface Ink {
  panel: string
  ink: string
  soft: string
  line: string
  font: string
}

const escape = (text: string) =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!)

export function plotSvg(
  u: uPlot,
  lines: readonly Line[],
  { title, xTitle, ink, yLog }: { title: string; xTitle: string; ink: Ink; yLog: boolean },
): string {
  const ratio = devicePixelRatio || 1
  const box = {
    left: u.bbox.left / ratio,
    top: u.bbox.top / ratio + 24,
    width: u.bbox.width / ratio,
    height: u.bbox.height / ratio,
  }
  // Below the axis: its title, then a line for each run.
  const foot = u.height + 24 + 14
  const [width, height] = [u.width, foot + 18 * lines.length + 14]
  const px = (v: number) => u.valToPos(v, 'x') + box.left
  const py = (v: number) => u.valToPos(v, 'y') + box.top
  const range: Range = [u.scales.x!.min!, u.scales.x!.max!]
  const bottom = box.top + box.height
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${escape(ink.font)}" font-size="11">`,
    `<title>${escape(title)}</title><rect width="100%" height="100%" fill="${ink.panel}"/>`,
    `<text x="${box.left}" y="18" font-size="13" font-weight="600" fill="${ink.ink}">${escape(title)}</text>`,
    `<clipPath id="box"><rect x="${box.left}" y="${box.top}" width="${box.width}" height="${box.height}"/></clipPath>`,
  ]
  parts.push(
    `<text x="${box.left + box.width}" y="${bottom + 32}" text-anchor="end" fill="${ink.soft}">${escape(xTitle)}</text>`,
  )
  u.axes.forEach((axis, at) => {
    const { _splits: splits = [], _values: values = [] } = axis as unknown as Axis
    splits.forEach((v, i) => {
      const text = values[i]
      if (v === null || !text) return
      parts.push(
        at === 0
          ? `<text x="${px(v).toFixed(1)}" y="${bottom + 16}" text-anchor="middle" fill="${ink.soft}">${escape(text)}</text>`
          : `<path d="M${box.left} ${py(v).toFixed(1)}h${box.width}" stroke="${ink.line}"/><text x="${box.left - 6}" y="${(py(v) + 4).toFixed(1)}" text-anchor="end" fill="${ink.soft}">${escape(text)}</text>`,
      )
    })
  })
  const draw = (line: Line, y: Float64Array, style: string) => {
    const points = pathPoints(line, y, range, px, py, yLog)
    if (points.length === 2 && Number.isFinite(points[0]! + points[1]!))
      parts.push(
        `<circle cx="${points[0]!.toFixed(1)}" cy="${points[1]!.toFixed(1)}" r="${ONLY_POINT}" fill="${line.colour}"/>`,
      )
    let d = ''
    let pen = false
    for (let i = 0; i < points.length; i += 2) {
      if (Number.isNaN(points[i]!)) pen = false
      else {
        const alone = !pen && (i + 2 >= points.length || Number.isNaN(points[i + 2]!))
        const x = points[i]! - (alone ? 1.5 : 0)
        // A point between gaps is a short stroke: a path of one point is not drawn at all.
        d += `${pen ? 'L' : 'M'}${x.toFixed(1)} ${points[i + 1]!.toFixed(1)}${alone ? 'h3' : ''}`
        pen = true
      }
    }
    parts.push(`<path clip-path="url(#box)" d="${d}" fill="none" stroke="${line.colour}" ${style}/>`)
  }
  for (const line of lines) {
    if (!line.band) continue
    const edge = (y: Float64Array) => {
      const points = pathPoints(line, y, range, px, py, yLog)
      const pairs: string[] = []
      for (let i = 0; i < points.length; i += 2) {
        if (!Number.isNaN(points[i]!)) pairs.push(`${points[i]!.toFixed(1)} ${points[i + 1]!.toFixed(1)}`)
      }
      return pairs
    }
    const around = [...edge(line.band.high), ...edge(line.band.low).reverse()]
    if (around.length) {
      parts.push(`<path clip-path="url(#box)" d="M${around.join('L')}Z" fill="${line.colour}" fill-opacity="0.15"/>`)
    }
  }
  for (const line of lines) if (line.raw) draw(line, line.raw, 'stroke-opacity="0.25"')
  for (const line of lines) draw(line, line.y, `stroke-width="${line.main ? 1.75 : 1.25}" stroke-linejoin="round"`)
  lines.forEach((line, i) => {
    const y = foot + 14 + 18 * i
    parts.push(
      `<path d="M${box.left} ${y - 4}h16" stroke="${line.colour}" stroke-width="2"/><text x="${box.left + 24}" y="${y}" fill="${ink.ink}">${escape(line.label)}</text>`,
    )
  })
  return [...parts, '</svg>'].join('')
}
