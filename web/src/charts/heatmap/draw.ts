/** Histograms over time as a picture: heat map, percentile bands, ridgeline. */

import { colourTable, type MapName, type Theme } from '../../maths/colourmaps'
import { shareOutEdges, strength, type HistogramImage, type HistogramRows } from '../../maths/histogram'
import { toPixel, toValue, type Scale } from '../axes'
import type { Ink } from '../ink'
import type { Pen } from '../pen'

/** Where the colours of a heat map begin: even one value must be told from none. */
export const FAINTEST = 36

/** The pixels of a heat map, the highest value on top; cells that hold nothing stay clear. */
export function paintCounts(pixels: Uint32Array, image: HistogramImage, table: Uint32Array, log: boolean): void {
  const { columns, rows, cells, largest } = image
  for (let y = 0; y < rows; y++) {
    const line = (rows - 1 - y) * columns
    for (let x = 0; x < columns; x++) {
      const count = cells[y * columns + x]!
      pixels[line + x] = count > 0 ? table[FAINTEST + Math.round(strength(count, largest, log) * (255 - FAINTEST))]! : 0
    }
  }
}

/** A heat map as a canvas of its own size, to be stretched over the chart. */
export function heatCanvas(image: HistogramImage, map: MapName, theme: Theme, log: boolean): HTMLCanvasElement {
  const canvas = document.createElement('canvas')
  canvas.width = image.columns
  canvas.height = image.rows
  const g = canvas.getContext('2d')!
  const data = g.createImageData(image.columns, image.rows)
  paintCounts(new Uint32Array(data.data.buffer), image, colourTable(map, theme), log)
  g.putImageData(data, 0, 0)
  return canvas
}

/** Lines of percentiles: the median strongest, the outer ones faint; steps, since a row holds until the next one. */
export function drawBands(
  pen: Pen,
  ink: Ink,
  bands: readonly Float64Array[],
  xs: ArrayLike<number>,
  x: Scale,
  y: Scale,
): void {
  const middle = (bands.length - 1) / 2
  const line = (band: Float64Array) => {
    const points = new Float64Array(2 * band.length)
    for (let t = 0; t < band.length; t++) {
      points[2 * t] = toPixel(x, xs[t]!)
      points[2 * t + 1] = toPixel(y, band[t]!)
    }
    return points
  }
  for (let k = 0; k < middle; k++) {
    const lower = line(bands[k]!)
    const upper = line(bands[bands.length - 1 - k]!)
    const around = new Float64Array(lower.length * 2)
    around.set(lower)
    for (let t = 0; t < upper.length; t += 2) {
      around[lower.length + t] = upper[upper.length - 2 - t]!
      around[lower.length + t + 1] = upper[upper.length - 1 - t]!
    }
    pen.area(around, ink.ink, 0.07)
  }
  bands.forEach((band, k) => {
    const far = Math.abs(k - middle)
    pen.line(line(band), { color: ink.ink, width: far === 0 ? 1.75 : 1, alpha: far === 0 ? 0.95 : 0.65 - 0.12 * far })
  })
}

/** Some rows of a film, drawn one behind another, the newest in front; each as high as its own peak. */
export function drawRidges(
  pen: Pen,
  ink: Ink,
  rows: HistogramRows,
  chosen: readonly number[],
  x: Scale,
  box: { top: number; bottom: number },
  shown: number,
  colour: (part: number) => string,
): void {
  const n = chosen.length
  if (n === 0) return
  const overlap = Math.min(4, 1 + n / 3)
  const step = (box.bottom - box.top) / (n - 1 + overlap)
  const cells = new Float64Array(Math.max(16, Math.round((x.to - x.from) / 2)))
  const edges = cellEdges(x, cells.length)
  chosen.forEach((t, k) => {
    const base = box.top + step * overlap + step * k
    cells.fill(0)
    shareOutEdges(rows, t, edges, cells)
    const most = cells.reduce((m, c) => Math.max(m, c), 0) || 1
    const first = cells.findIndex((c) => c > 0)
    if (first < 0) return
    const last = cells.findLastIndex((c) => c > 0)
    const at = (c: number) => x.from + (c / cells.length) * (x.to - x.from)
    const points: number[] = [at(first), base]
    for (let c = first; c <= last; c++) {
      const y = base - (cells[c]! / most) * step * overlap * 0.94
      points.push(at(c), y, at(c + 1), y)
    }
    points.push(at(last + 1), base)
    const now = t === shown
    pen.area(points, now ? ink.head : colour(n > 1 ? k / (n - 1) : 1), 0.9)
    pen.line(points, { color: now ? ink.head : ink.panel, width: now ? 1.25 : 1 })
  })
}

/** The values at the edges of equally wide cells along a scale. */
export function cellEdges(scale: Scale, cells: number): Float64Array {
  return Float64Array.from({ length: cells + 1 }, (_, c) =>
    toValue(scale, scale.from + (c / cells) * (scale.to - scale.from)),
  )
}

/** About `most` rows, evenly spread, the shown one always among them. */
export function chosenRows(total: number, most: number, shown: number): number[] {
  if (total <= most) return Array.from({ length: total }, (_, t) => t)
  const picked = new Set(Array.from({ length: most }, (_, k) => Math.round((k * (total - 1)) / (most - 1))))
  if (shown >= 0) picked.add(shown)
  return [...picked].sort((a, b) => a - b)
}
