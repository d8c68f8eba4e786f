/** Pictures for saving, drawn anew at their own size rather than taken from the screen. */

import { inkOf } from './ink'
import { CanvasPen, SvgPen, type Pen } from './pen'

/** Something that a pen draws, and how large it is in CSS pixels. */
export interface Drawing {
  readonly width: number
  readonly height: number
  readonly draw: (pen: Pen) => void
}

/** Device pixels per CSS pixel of a saved PNG. */
const DENSITY = 2

/** A drawing as a PNG file. */
export function penPng({ width, height, draw }: Drawing): Promise<Blob | null> {
  const canvas = document.createElement('canvas')
  canvas.width = Math.round(width * DENSITY)
  canvas.height = Math.round(height * DENSITY)
  const g = canvas.getContext('2d')!
  g.scale(DENSITY, DENSITY)
  draw(new CanvasPen(g))
  return new Promise((done) => canvas.toBlob(done, 'image/png'))
}

/** A drawing as SVG. */
export function penSvg({ width, height, draw }: Drawing): string {
  const pen = new SvgPen()
  draw(pen)
  return pen.document(width, height)
}

const MARGIN = 16
const TOP = 52

/** A chart with its name above it, on the surface of a card. */
export function titled(
  size: { width: number; height: number },
  names: { title: string; about: string },
  draw: (pen: Pen) => void,
): Drawing {
  const width = size.width + 2 * MARGIN
  const height = size.height + TOP + MARGIN
  return {
    width,
    height,
    draw: (pen) => {
      const ink = inkOf()
      pen.rect(0, 0, width, height, ink.panel)
      pen.text(names.title, MARGIN, 22, { color: ink.ink, size: 13, weight: 600 })
      pen.text(names.about, MARGIN, 40, { color: ink.soft, size: 12 })
      pen.shift(MARGIN, TOP)
      draw(pen)
    },
  }
}
