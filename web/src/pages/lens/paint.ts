/** Maps in colours, over photos: scales and enlarging as in `epochal.lens` in Python. Pure. */

import { mapOf, pictureOf, type Look } from '../../wire/lens'

export interface Scale {
  lo: number
  hi: number
  signed: boolean
  /** Some values lie beyond the ends. */
  clipped: boolean
}

/** Symmetric around zero where values are signed, else from zero up; `share` of the values lie within. */
export function scaleOf(values: ArrayLike<number>, signed: boolean, share = 0.995): Scale {
  const sizes: number[] = []
  for (let i = 0; i < values.length; i += 1) {
    const size = Math.abs(values[i]!)
    if (Number.isFinite(size)) sizes.push(size)
  }
  sizes.sort((a, b) => a - b)
  const most = sizes.at(-1) ?? 0
  const place = (sizes.length - 1) * share
  const below = Math.floor(place)
  const within = sizes.length
    ? sizes[below]! + (place - below) * ((sizes[below + 1] ?? sizes[below]!) - sizes[below]!)
    : 0
  const hi = (share < 1 && within > 0 ? within : most) || 1
  return { lo: signed ? -hi : 0, hi, signed, clipped: hi < most }
}

/** A map [h, w] as large as [height, width], between its places by straight lines. */
export function enlarged(map: Float32Array, h: number, w: number, height: number, width: number): Float32Array {
  if (h === height && w === width) return map
  const rows = places(h, height)
  const columns = places(w, width)
  const out = new Float32Array(height * width)
  for (let y = 0; y < height; y += 1) {
    const { low: top, part: down } = rows[y]!
    const bottom = Math.min(top + 1, h - 1)
    for (let x = 0; x < width; x += 1) {
      const { low: left, part: along } = columns[x]!
      const right = Math.min(left + 1, w - 1)
      const above = map[top * w + left]! * (1 - along) + map[top * w + right]! * along
      const below = map[bottom * w + left]! * (1 - along) + map[bottom * w + right]! * along
      out[y * width + x] = above * (1 - down) + below * down
    }
  }
  return out
}

function places(count: number, size: number): { low: number; part: number }[] {
  return Array.from({ length: size }, (_, i) => {
    const at = Math.min(count - 1, Math.max(0, ((i + 0.5) * count) / size - 0.5))
    return { low: Math.floor(at), part: at - Math.floor(at) }
  })
}

/**
 * A map in the colours of `table` (256 pixels) over a photo (RGB bytes, or null): `opacity` 0 shows the photo alone, 1
 * the colours alone; between them a map covers most where it is strong, so that the rest of the photo can be seen.
 * Values that are not finite have the colour `bad`.
 */
export function laidOver(
  map: Float32Array,
  scale: Scale,
  table: Uint32Array,
  bad: readonly [number, number, number],
  photo: Uint8Array | null,
  opacity: number,
): Uint8ClampedArray<ArrayBuffer> {
  const data = new Uint8ClampedArray(map.length * 4)
  const span = scale.hi - scale.lo
  for (let i = 0; i < map.length; i += 1) {
    const v = map[i]!
    const finite = Number.isFinite(v)
    const pixel = finite ? table[Math.max(0, Math.min(255, Math.round(((v - scale.lo) / span) * 255)))]! : 0
    const strength = finite ? Math.min(1, Math.abs(v) / scale.hi) : 1
    const part = photo ? opacity ** (1 + 3 * (1 - strength)) : 1
    for (let c = 0; c < 3; c += 1) {
      const own = finite ? (pixel >>> (8 * c)) & 255 : bad[c]!
      data[i * 4 + c] = photo ? own * part + photo[i * 3 + c]! * (1 - part) : own
    }
    data[i * 4 + 3] = 255
  }
  return data
}

/** RGB bytes as a canvas takes them. */
export function opaque(rgb: Uint8Array): Uint8ClampedArray<ArrayBuffer> {
  const data = new Uint8ClampedArray((rgb.length / 3) * 4)
  for (let i = 0; i < rgb.length / 3; i += 1) {
    for (let c = 0; c < 3; c += 1) data[i * 4 + c] = rgb[i * 3 + c]!
    data[i * 4 + 3] = 255
  }
  return data
}

/** Draws pixels on a canvas of just their size; for {@attach}. */
export const pixels =
  (data: Uint8ClampedArray<ArrayBuffer>, width: number, height: number) => (canvas: HTMLCanvasElement) => {
    canvas.width = width
    canvas.height = height
    canvas.getContext('2d')?.putImageData(new ImageData(data, width, height), 0, 0)
  }

export interface Painted {
  data: Uint8ClampedArray<ArrayBuffer>
  width: number
  height: number
}

/** One map of what was found in its colours, over a photo where there is one; or its own pixels. Of a volume a slice. */
export function paintedLook(
  look: Look,
  i: number,
  scale: Scale | null,
  table: Uint32Array,
  bad: readonly [number, number, number],
  photo: Look | null,
  opacity: number,
): Painted {
  const { width, height } = look
  if (look.pixels || !scale) return { data: opaque(pictureOf(look, i)), width, height }
  const plane = width * height
  const map = mapOf(look, i).subarray((look.depth >> 1) * plane, ((look.depth >> 1) + 1) * plane)
  if (!photo) return { data: laidOver(map, scale, table, bad, null, 1), width, height }
  // A small photo gets a map of its size; a map that is finer than the photo is never made coarser.
  const large = enlarged(map, height, width, photo.height, photo.width)
  const data = laidOver(large, scale, table, bad, photo.pixels!, opacity)
  return { data, width: photo.width, height: photo.height }
}
