/** Paints a weight tensor as small pictures: folded rows, or the kernels of a convolution. */

import { tileLayout, type TileLayout, type TileShape } from '../../maths/fold'

/** Height of a line under a tile, and the least width of a tile that has room for one, in CSS pixels. */
export const CAPTION_LINE = 13
const LEAST_WIDTH = 56

/** The layout of tiles in a room of CSS pixels, with two lines under each where they are wanted and find room. */
export function captionedLayout(
  tiles: TileShape,
  room: { width: number; height: number },
  { ratio, largest = 10, captions }: { ratio: number; largest?: number; captions: boolean },
): { layout: TileLayout; told: boolean } {
  const most = { width: Math.floor(room.width * ratio), height: Math.floor(room.height * ratio) }
  const pixel = Math.round(largest * ratio)
  if (captions) {
    // Small kernels are drawn large enough for a caption.
    const enough = tiles.flows ? Math.max(pixel, Math.ceil((LEAST_WIDTH * ratio) / tiles.width)) : pixel
    const layout = tileLayout(tiles, most, enough, Math.round((2 * CAPTION_LINE + 4) * ratio))
    if ((layout.pixel * tiles.width) / ratio >= LEAST_WIDTH) return { layout, told: true }
  }
  return { layout: tileLayout(tiles, most, pixel), told: false }
}

/** Upper left corner of a tile. */
export function tileOrigin(
  tiles: TileShape,
  layout: TileLayout,
  down: number,
  across: number,
): { x: number; y: number } {
  const line = tiles.flows ? Math.floor(down / layout.perLine) : down
  const place = tiles.flows ? down % layout.perLine : across
  return {
    x: place * (tiles.width * layout.pixel + layout.gap),
    y: line * (tiles.height * layout.pixel + layout.gap + layout.caption),
  }
}

/**
 * Paints all tiles; `pixels` is layout.width x layout.height. Three channels are drawn as red, green and blue. `order`
 * says which unit stands at each place.
 */
export function paintTiles(
  pixels: Uint32Array,
  tiles: TileShape,
  layout: TileLayout,
  frame: Uint8Array,
  table: Uint32Array,
  order: ArrayLike<number> | null = null,
): void {
  const { height, width, channels } = tiles
  const { pixel } = layout
  const stride = layout.width
  const plane = height * width
  for (let d = 0; d < tiles.down; d++) {
    for (let a = 0; a < tiles.across; a++) {
      const { x, y } = tileOrigin(tiles, layout, d, a)
      const from = (order ? order[d]! : d) * tiles.downStride + a * tiles.acrossStride
      for (let r = 0; r < height; r++) {
        const top = (y + r * pixel) * stride + x
        for (let c = 0; c < width; c++) {
          const e = from + r * width + c
          const colour =
            channels === 1 ? table[frame[e]!]! : mixed(frame[e]!, frame[e + plane]!, frame[e + 2 * plane]!, table)
          if (pixel === 1) pixels[top + c] = colour
          else for (let i = top + c * pixel, end = i + pixel; i < end; i++) pixels[i] = colour
        }
        for (let p = 1; p < pixel; p++) pixels.copyWithin(top + p * stride, top, top + width * pixel)
      }
    }
  }
}

/** Bytes as red, green and blue; one that is not finite takes the colour that marks it. */
function mixed(r: number, g: number, b: number, table: Uint32Array): number {
  if (r === 0 || g === 0 || b === 0) return table[0]!
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0
}

/** The tile and the source pixel under a device pixel; null between tiles. */
export function tileAt(
  tiles: TileShape,
  layout: TileLayout,
  x: number,
  y: number,
): { down: number; across: number; row: number; column: number } | null {
  const stepX = tiles.width * layout.pixel + layout.gap
  const stepY = tiles.height * layout.pixel + layout.gap + layout.caption
  if (x < 0 || y < 0 || x >= layout.width || y >= layout.height) return null
  const place = Math.floor(x / stepX)
  const line = Math.floor(y / stepY)
  const column = Math.floor((x - place * stepX) / layout.pixel)
  const row = Math.floor((y - line * stepY) / layout.pixel)
  if (column >= tiles.width || row >= tiles.height) return null
  const down = tiles.flows ? line * layout.perLine + place : line
  if (down >= tiles.down) return null
  return { down, across: tiles.flows ? 0 : place, row, column }
}
