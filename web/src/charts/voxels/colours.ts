/** Which colours a block has, and its scale as a picture. */
import type { Rgb } from '../../maths/colour'
import { colourTable, NONFINITE, type MapName, type Theme } from '../../maths/colourmaps'
import type { BlockScale } from './block'

export const tableOf = (scale: BlockScale, theme: Theme, map: MapName = 'viridis'): Uint32Array =>
  colourTable(scale.signed ? 'diverging' : map, theme)

/** Of what is not finite: a hue that the map in use does not have. */
export const oddColour = (theme: Theme, signed: boolean): Rgb => (signed ? NONFINITE[theme] : PINK)
const PINK: Rgb = [232, 40, 168]

/** `#rrggbb` or `rgb(r, g, b)`, as custom properties have it, as numbers. */
export function rgbOf(css: string): [number, number, number] {
  const hex = /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.exec(css.trim())?.[1]
  if (hex) {
    const wide = hex.length === 3 ? [...hex].map((c) => c + c).join('') : hex
    const n = Number.parseInt(wide, 16)
    return [(n >> 16) & 255, (n >> 8) & 255, n & 255]
  }
  const parts = (css.match(/[\d.]+/g) ?? []).map(Number)
  return [parts[0] ?? 128, parts[1] ?? 128, parts[2] ?? 128]
}
