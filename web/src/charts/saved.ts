/** Pictures for saving, drawn anew at their own size rather than taken from the screen. */

import { CanvasPen, SvgPen, type Pen } from './pen'

/** Device pixels per CSS pixel of a saved PNG. */
const DENSITY = 2

/** A drawing as a PNG file. */
export function penPng(width: number, height: number, draw: (pen: Pen) => void): Promise<Blob | null> {
  const canvas = document.createElement('canvas')
  canvas.width = Math.round(width * DENSITY)
  canvas.height = Math.round(height * DENSITY)
  const g = canvas.getContext('2d')!
  g.scale(DENSITY, DENSITY)
  draw(new CanvasPen(g))
  return new Promise((done) => canvas.toBlob(done, 'image/png'))
}

/** A drawing as SVG. */
export function penSvg(width: number, height: number, draw: (pen: Pen) => void): string {
  const pen = new SvgPen()
  draw(pen)
  return pen.document(width, height)
}
