/** Zooming and panning over a matrix. Positions are in cells, scales in device pixels per cell. */

import type { MatrixWindow } from './paint'

interface Extent {
  readonly rows: number
  readonly columns: number
  readonly width: number
  readonly height: number
}

const LARGEST = 64
const MOST_STRETCH = 4

/** The whole matrix in the middle of the canvas; cells square, or stretched a little to use the room. */
export function fitted({ rows, columns, width, height }: Extent, ratio = 1): MatrixWindow {
  let scaleX = Math.min(LARGEST * ratio, width / columns)
  let scaleY = Math.min(LARGEST * ratio, height / rows)
  const most = Math.min(scaleX, scaleY) >= 4 ? 1 : MOST_STRETCH
  scaleX = Math.min(scaleX, scaleY * most)
  scaleY = Math.min(scaleY, scaleX * most)
  // Whole pixels a cell, where cells are larger than pixels: all of them then look alike.
  if (scaleX >= 1) scaleX = Math.floor(scaleX)
  if (scaleY >= 1) scaleY = Math.floor(scaleY)
  return { scaleX, scaleY, x: (columns - width / scaleX) / 2, y: (rows - height / scaleY) / 2 }
}

/** Zoomed by a factor around a pixel, which keeps its cell. */
export function zoomed(
  view: MatrixWindow,
  factor: number,
  at: { x: number; y: number },
  extent: Extent,
  ratio = 1,
): MatrixWindow {
  const least = fitted(extent, ratio)
  const wish = Math.min(Math.max(view.scaleX * factor, least.scaleX), LARGEST * ratio)
  const real = wish / view.scaleX
  const scaleX = wish
  const scaleY = Math.min(Math.max(view.scaleY * real, least.scaleY), LARGEST * ratio)
  const moved = {
    scaleX,
    scaleY,
    x: view.x + at.x / view.scaleX - at.x / scaleX,
    y: view.y + at.y / view.scaleY - at.y / scaleY,
  }
  return held(moved, extent)
}

/** Moved by a number of pixels. */
export function panned(view: MatrixWindow, dx: number, dy: number, extent: Extent): MatrixWindow {
  return held({ ...view, x: view.x - dx / view.scaleX, y: view.y - dy / view.scaleY }, extent)
}

/** Kept from sliding off the canvas: a matrix smaller than it stays in the middle. */
function held(view: MatrixWindow, { rows, columns, width, height }: Extent): MatrixWindow {
  const across = width / view.scaleX
  const down = height / view.scaleY
  const x = across >= columns ? (columns - across) / 2 : Math.min(columns - across, Math.max(0, view.x))
  const y = down >= rows ? (rows - down) / 2 : Math.min(rows - down, Math.max(0, view.y))
  return { ...view, x, y }
}

/** The cell under a pixel, null outside. */
export function cellUnder(
  view: MatrixWindow,
  x: number,
  y: number,
  extent: Extent,
): { row: number; column: number } | null {
  const column = Math.floor(view.x + x / view.scaleX)
  const row = Math.floor(view.y + y / view.scaleY)
  return row >= 0 && row < extent.rows && column >= 0 && column < extent.columns ? { row, column } : null
}
