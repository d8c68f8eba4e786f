/** Blocks of values: what they hold, on which scale, and each voxel's colour. Pure. */
import { pixelFromRgb, type Rgb } from '../../maths/colour'
import type { Sides } from './pose'

/** The sides that are drawn; of larger blocks every second, third, ... value is shown. */
const MOST_SIDE = 128

export interface Block {
  /** [depth, height, width] */
  sides: Sides
  /** One value for each voxel. */
  values: ArrayLike<number>
  /** Its own colours (3 or 4 bytes each), where they were recorded. */
  colours: { bytes: Uint8Array; channels: 3 | 4 } | null
  /** Of the finite values; 0 and 0 where there are none. */
  low: number
  high: number
  nonfinite: number
  /** Two values only: there or not. */
  flags: boolean
  /** 1, or 2 where every second value of each axis is here, and so on. */
  stride: number
}

export interface BlockScale {
  low: number
  high: number
  /** Around zero. */
  signed: boolean
}

interface Numbers {
  shape: readonly number[]
  values: ArrayLike<number>
  dtype?: string
}

/**
 * A block of an array [D, H, W], or of channels [D, H, W, C] with `channelsLast`, or [..., D, H, W], of which the first is taken.
 * Colours are bytes, or numbers from 0 to 1. Null where it has fewer axes than three.
 */
export function blockOf({ shape, values, dtype = '' }: Numbers, channelsLast = false): Block | null {
  const coloured = channelsLast && shape.length === 4 && (shape[3] === 3 || shape[3] === 4)
  const single = channelsLast && shape.length === 4
  const sides = (single ? shape.slice(0, 3) : shape.slice(-3)) as unknown as Sides
  if (shape.length < 3 || sides.some((side) => !(side >= 1))) return null
  const channels = single ? shape[3]! : 1
  const stride = Math.max(1, Math.ceil(Math.max(...sides) / MOST_SIDE))
  const small = sides.map((side) => Math.ceil(side / stride)) as unknown as Sides
  const count = small[0] * small[1] * small[2]
  if (values.length < sides[0] * sides[1] * sides[2] * channels) return null
  const place = (k: number) => {
    if (stride === 1) return k
    const x = (k % small[2]) * stride
    const y = (Math.floor(k / small[2]) % small[1]) * stride
    const z = Math.floor(k / (small[1] * small[2])) * stride
    return (z * sides[1] + y) * sides[2] + x
  }
  let own: ArrayLike<number> = values
  let colours: Block['colours'] = null
  if (coloured) {
    const bytes = new Uint8Array(count * channels)
    const factor = dtype === 'U8' ? 1 : 255
    const strongest = new Float64Array(count)
    for (let k = 0; k < count; k += 1) {
      const from = place(k) * channels
      for (let c = 0; c < channels; c += 1) bytes[k * channels + c] = clampByte(values[from + c]! * factor)
      strongest[k] = channels === 4 ? values[from + 3]! : Math.max(values[from]!, values[from + 1]!, values[from + 2]!)
    }
    own = strongest
    colours = { bytes, channels: channels as 3 | 4 }
  } else if (stride > 1 || values.length !== count) {
    own = Float64Array.from({ length: count }, (_, k) => values[place(k) * channels]!)
  }
  let [low, high, nonfinite] = [Infinity, -Infinity, 0]
  for (let k = 0; k < count; k += 1) {
    const v = own[k]!
    if (!Number.isFinite(v)) nonfinite += 1
    else {
      if (v < low) low = v
      if (v > high) high = v
    }
  }
  if (!(low <= high)) [low, high] = [0, 0]
  return { sides: small, values: own, colours, low, high, nonfinite, flags: dtype === 'BOOL', stride }
}

const clampByte = (v: number) => (v > 0 ? Math.min(255, Math.round(v)) : 0)

/** The scale of values between two: around zero where some lie below it, from zero where that lies near, else as they are. */
export function blockScale(low: number, high: number): BlockScale {
  if (low < 0) {
    const limit = Math.max(-low, high)
    return { low: -limit, high: limit, signed: true }
  }
  if (!(high > 0)) return { low: 0, high: 1, signed: false }
  return { low: low > high / 2 && low < high ? low : 0, high, signed: false }
}

/** The value (of signed ones the size) that a share of the scale, 0 to 1, stands for. */
export const valueAt = (scale: BlockScale, share: number): number =>
  scale.signed ? share * scale.high : scale.low + share * (scale.high - scale.low)

/** Which share of the scale a value stands for, 0 to 1. */
export function shareOf(scale: BlockScale, value: number): number {
  const low = scale.signed ? 0 : scale.low
  return Math.max(0, Math.min(1, (Math.abs(value) - low) / (scale.high - low || 1)))
}

/**
 * Each voxel's colour as a pixel, 0 where there is nothing: no more than the threshold (of signed values their size).
 * Values that are not finite are always there, in a colour of their own. With `glass` a voxel is as opaque as its value is large.
 * `where` (not 0: there) takes the place of the threshold: voxels of something else, in the colours of this.
 */
export function painted(
  block: Block,
  scale: BlockScale,
  threshold: number,
  table: Uint32Array,
  bad: Rgb,
  glass = false,
  where: ArrayLike<number> | null = null,
): Uint32Array {
  const { values, colours } = block
  const out = new Uint32Array(block.sides[0] * block.sides[1] * block.sides[2])
  const span = scale.high - scale.low || 1
  const odd = pixelFromRgb(bad)
  const flag = table[Math.round(table.length * 0.56)]!
  for (let k = 0; k < out.length; k += 1) {
    const v = values[k]!
    if (where && !where[k]) continue
    if (!Number.isFinite(v)) {
      out[k] = odd
      continue
    }
    if (!where && !((scale.signed ? Math.abs(v) : v) > threshold)) continue
    let pixel
    if (colours) {
      const { bytes, channels } = colours
      pixel = pixelFromRgb([bytes[k * channels]!, bytes[k * channels + 1]!, bytes[k * channels + 2]!])
    } else if (block.flags) pixel = flag
    else pixel = table[Math.max(0, Math.min(255, Math.round(((v - scale.low) / span) * 255)))]!
    if (glass) {
      const alpha = Math.max(2, Math.round(255 * shareOf(scale, v) ** 1.5))
      pixel = ((pixel & 0xffffff) | (alpha << 24)) >>> 0
    }
    out[k] = pixel
  }
  return out
}

/** How many voxels are drawn. */
export function solidCount(pixels: Uint32Array): number {
  let count = 0
  for (let k = 0; k < pixels.length; k += 1) if (pixels[k]) count += 1
  return count
}

/** Depth, row and column of a voxel by its number. */
export function placeOf(index: number, [, h, w]: Sides): [number, number, number] {
  return [Math.floor(index / (h * w)), Math.floor(index / w) % h, index % w]
}

export interface Slice {
  rows: number
  columns: number
  /** The number of the voxel at a place of the picture. */
  index: (row: number, column: number) => number
}

/** One slice through a block across an axis (0: depth), as a picture. */
export function sliceOf([d, h, w]: Sides, axis: 0 | 1 | 2, at: number): Slice {
  if (axis === 0) return { rows: h, columns: w, index: (r, c) => (at * h + r) * w + c }
  if (axis === 1) return { rows: d, columns: w, index: (r, c) => (r * h + at) * w + c }
  return { rows: h, columns: d, index: (r, c) => (c * h + r) * w + at }
}
