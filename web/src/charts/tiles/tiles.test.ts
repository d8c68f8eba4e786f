import { expect, it } from 'vitest'
import { tileLayout, tileShape } from '../../maths/fold'
import { paintTiles, tileAt } from './paint'

const same = Uint32Array.from({ length: 256 }, (_, i) => i)

it('paints rows as pictures that flow over lines, and finds them again', () => {
  const tiles = tileShape([3, 25], null, true)!
  const layout = tileLayout(tiles, { width: 26, height: 40 }, 2)
  expect(layout).toMatchObject({ perLine: 2, lines: 2, pixel: 2, gap: 2 })
  const frame = Uint8Array.from({ length: 75 }, (_, i) => i + 1)
  const pixels = new Uint32Array(layout.width * layout.height)
  paintTiles(pixels, tiles, layout, frame, same)
  for (let y = 0; y < layout.height; y++) {
    for (let x = 0; x < layout.width; x++) {
      const at = tileAt(tiles, layout, x, y)
      expect(pixels[y * layout.width + x]).toBe(at ? frame[at.down * 25 + at.row * 5 + at.column] : 0)
    }
  }
})

it('paints kernels units down, inputs across', () => {
  const tiles = tileShape([2, 4, 3, 3], null, false)!
  const layout = tileLayout(tiles, { width: 200, height: 200 })
  const frame = Uint8Array.from({ length: 72 }, (_, i) => i + 1)
  const pixels = new Uint32Array(layout.width * layout.height)
  paintTiles(pixels, tiles, layout, frame, same)
  const at = tileAt(tiles, layout, layout.width - 1, layout.height - 1)
  expect(at).toEqual({ down: 1, across: 3, row: 2, column: 2 })
  expect(pixels.at(-1)).toBe(72)
})

it('mixes three channels', () => {
  const tiles = tileShape([1, 3, 1, 2], null, false)!
  const layout = tileLayout(tiles, { width: 2, height: 1 }, 1)
  const pixels = new Uint32Array(2)
  paintTiles(pixels, tiles, layout, Uint8Array.from([10, 0, 20, 128, 30, 128]), same)
  expect([...new Uint8Array(pixels.buffer).slice(0, 4)]).toEqual([10, 20, 30, 255])
  expect(pixels[1]).toBe(same[0])
})
