/** A layer's picture with its name, step and scale, for saving. */

import { frameTable, type Theme } from '../../maths/colourmaps'
import { formatSigned } from '../../maths/numbers'
import type { Ink } from '../ink'
import type { Pen } from '../pen'

export interface LayerPicture {
  readonly title: string
  readonly about: string
  readonly image: HTMLCanvasElement
  /** Size of the image in CSS pixels. */
  readonly width: number
  readonly height: number
  readonly limit: number
}

const MARGIN = 16
const TOP = 56
const BOTTOM = 40
const BAR = 120

/** How large the whole picture is. */
export function pictureSize({ width, height }: LayerPicture): { width: number; height: number } {
  return { width: Math.max(260, width + 2 * MARGIN), height: height + TOP + BOTTOM }
}

/** The colours of the signed map as a picture of one line. */
export function scaleImage(theme: Theme): HTMLCanvasElement {
  const canvas = document.createElement('canvas')
  canvas.width = 255
  canvas.height = 1
  const g = canvas.getContext('2d')!
  const image = g.createImageData(255, 1)
  new Uint32Array(image.data.buffer).set(frameTable(theme).subarray(1))
  g.putImageData(image, 0, 0)
  return canvas
}

export function drawLayerPicture(pen: Pen, ink: Ink, theme: Theme, picture: LayerPicture): void {
  const size = pictureSize(picture)
  pen.rect(0, 0, size.width, size.height, ink.panel)
  pen.text(picture.title, MARGIN, 24, { color: ink.ink, size: 13, weight: 600 })
  pen.text(picture.about, MARGIN, 42, { color: ink.soft, size: 12 })
  pen.image(picture.image, MARGIN, TOP, picture.width, picture.height)
  const y = TOP + picture.height + 20
  pen.text(formatSigned(-picture.limit), MARGIN + 44, y + 4, { color: ink.soft, align: 'right', base: 'middle' })
  pen.image(scaleImage(theme), MARGIN + 50, y, BAR, 8)
  pen.text(formatSigned(picture.limit), MARGIN + 56 + BAR, y + 4, { color: ink.soft, base: 'middle' })
}
