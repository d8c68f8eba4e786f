/** Writes frames of bytes into the pixels of an image, a line of cells at a time. */

import { shrink } from '../../maths/frames'
import type { MatrixLayout } from './layout'

/** Scratch that a canvas keeps, so that playing allocates nothing. */
export interface Scratch {
  shrunk: Uint8Array
  bias: Uint8Array
}

export const newScratch = (): Scratch => ({ shrunk: new Uint8Array(0), bias: new Uint8Array(0) })

/** Paints a matrix and the bias beside it; pixels between stay clear. `pixels` is layout.width x layout.height. */
export function paintMatrix(
  pixels: Uint32Array,
  layout: MatrixLayout,
  frame: Uint8Array,
  table: Uint32Array,
  bias: Uint8Array | null,
  biasTable: Uint32Array,
  scratch: Scratch,
): void {
  const { shownRows, shownColumns, rows, columns } = layout
  let cells = frame
  if (shownRows !== rows || shownColumns !== columns) {
    if (scratch.shrunk.length !== shownRows * shownColumns) scratch.shrunk = new Uint8Array(shownRows * shownColumns)
    cells = shrink(frame, rows, columns, shownRows, shownColumns, scratch.shrunk)
  }
  paintCells(
    pixels,
    layout.width,
    0,
    cells,
    shownRows,
    shownColumns,
    layout.cellWidth,
    layout.cellHeight,
    layout.line,
    table,
  )
  if (bias && layout.bias) {
    let column = bias
    if (shownRows !== rows) {
      if (scratch.bias.length !== shownRows) scratch.bias = new Uint8Array(shownRows)
      column = shrink(bias, rows, 1, shownRows, 1, scratch.bias)
    }
    paintCells(
      pixels,
      layout.width,
      layout.bias.left,
      column,
      shownRows,
      1,
      layout.bias.width,
      layout.cellHeight,
      layout.line,
      biasTable,
    )
  }
}

/** Below this size a cell has no room for a cross. */
const CROSS_FROM = 7
const CROSS = 0xff000000

/** Paints rows x columns cells of a fixed size; cells that are not finite get a cross where there is room. */
export function paintCells(
  pixels: Uint32Array,
  stride: number,
  left: number,
  cells: Uint8Array,
  rows: number,
  columns: number,
  cellWidth: number,
  cellHeight: number,
  line: number,
  table: Uint32Array,
): void {
  const across = columns * cellWidth
  const filled = cellWidth - line
  for (let r = 0; r < rows; r++) {
    const top = r * cellHeight * stride + left
    let bad = false
    if (cellWidth === 1) {
      for (let c = 0; c < columns; c++) pixels[top + c] = table[cells[r * columns + c]!]!
    } else {
      let at = top
      for (let c = 0; c < columns; c++, at += cellWidth) {
        const byte = cells[r * columns + c]!
        if (byte === 0) bad = true
        const pixel = table[byte]!
        for (let x = 0; x < filled; x++) pixels[at + x] = pixel
        for (let x = filled; x < cellWidth; x++) pixels[at + x] = 0
      }
    }
    for (let y = 1; y < cellHeight - line; y++) pixels.copyWithin(top + y * stride, top, top + across)
    for (let y = cellHeight - line; y < cellHeight && y > 0; y++) {
      pixels.fill(0, top + y * stride, top + y * stride + across)
    }
    if (bad && Math.min(cellWidth, cellHeight) >= CROSS_FROM) {
      for (let c = 0; c < columns; c++) {
        if (cells[r * columns + c] === 0) cross(pixels, stride, top + c * cellWidth, filled, cellHeight - line)
      }
    }
  }
}

function cross(pixels: Uint32Array, stride: number, at: number, width: number, height: number): void {
  const size = Math.min(width, height) - 4
  const x0 = Math.floor((width - size) / 2)
  const y0 = Math.floor((height - size) / 2)
  for (let i = 0; i < size; i++) {
    pixels[at + (y0 + i) * stride + x0 + i] = CROSS
    pixels[at + (y0 + i) * stride + x0 + size - 1 - i] = CROSS
  }
}

/** What part of a matrix a window shows: the cell at its upper left corner, and device pixels per cell. */
export interface MatrixWindow {
  readonly x: number
  readonly y: number
  readonly scaleX: number
  readonly scaleY: number
}

/**
 * Paints any part of a matrix at any scale. Where a pixel covers several cells it shows the one with the largest
 * magnitude, and one that is not finite always wins.
 */
export function paintWindow(
  pixels: Uint32Array,
  width: number,
  height: number,
  frame: Uint8Array,
  rows: number,
  columns: number,
  window: MatrixWindow,
  table: Uint32Array,
): void {
  pixels.fill(0)
  const firsts = new Int32Array(width)
  const ends = new Int32Array(width)
  for (let x = 0; x < width; x++) [firsts[x], ends[x]] = covered(window.x, window.scaleX, x, columns)
  const line = Math.min(window.scaleX, window.scaleY) >= 6
  let before = -1
  for (let y = 0; y < height; y++) {
    const [top, bottom] = covered(window.y, window.scaleY, y, rows)
    if (bottom <= top) continue
    const at = y * width
    const edge = line && covered(window.y, window.scaleY, y + 1, rows)[0] !== top
    if (edge) {
      before = -1
      continue
    }
    if (window.scaleY >= 1 && top === before) {
      pixels.copyWithin(at, at - width, at)
      continue
    }
    before = window.scaleY >= 1 ? top : -1
    for (let x = 0; x < width; x++) {
      const first = firsts[x]!
      const end = ends[x]!
      if (end <= first || (line && x + 1 < width && firsts[x + 1] !== first)) continue
      let chosen = 128
      for (let r = top; r < bottom && chosen !== 0; r++) {
        for (let c = first; c < end; c++) {
          const b = frame[r * columns + c]!
          if (b === 0) {
            chosen = 0
            break
          }
          if (Math.abs(b - 128) > Math.abs(chosen - 128)) chosen = b
        }
      }
      pixels[at + x] = table[chosen]!
    }
  }
}

/** The cells under a pixel: [first, end), empty outside the matrix. */
function covered(from: number, scale: number, pixel: number, cells: number): [number, number] {
  const first = Math.floor(from + pixel / scale + 1e-9)
  const end = scale >= 1 ? first + 1 : Math.max(first + 1, Math.floor(from + (pixel + 1) / scale + 1e-9))
  if (first < 0 || first >= cells) return [0, 0]
  return [first, Math.min(cells, end)]
}
