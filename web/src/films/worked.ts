/** Films that are worked out from others, frame by frame as they are looked at. */

import { bytesFromValues } from '../maths/frames'
import type { Frames } from './frames'

/** So many numbers are kept at most of one film, so that lines through time need not write a frame for every point. */
const KEPT = 4_000_000

/** Frames that a function writes; those written last are kept, as far as they are small. */
export class WorkedFrames implements Frames {
  readonly steps: Float64Array
  readonly shape: readonly number[]
  readonly size: number
  readonly limit: number
  readonly nonfinite = 0
  readonly total: number
  readonly stride: number
  readonly exact: boolean
  readonly #write: (index: number, out: Float32Array) => void
  readonly #held = new Map<number, Float32Array>()

  constructor(
    like: Frames,
    shape: readonly number[],
    write: (index: number, out: Float32Array) => void,
    limit: number | null = null,
  ) {
    this.steps = like.steps
    this.total = like.total
    this.stride = like.stride
    this.exact = like.exact
    this.shape = shape
    this.size = shape.reduce((n, s) => n * s, 1)
    this.#write = write
    this.limit = limit ?? this.#largest()
  }

  /** Of some frames, spread over the film and the ends among them: one limit for all of it. */
  #largest(): number {
    const count = this.steps.length
    const most = Math.max(2, Math.min(count, Math.floor(4e6 / Math.max(1, this.size))))
    let limit = 0
    for (let k = 0; k < Math.min(most, count); k++) {
      const frame = this.#frame(most > 1 ? Math.round((k * (count - 1)) / (Math.min(most, count) - 1 || 1)) : 0)
      for (const v of frame) if (Math.abs(v) > limit && Number.isFinite(v)) limit = Math.abs(v)
    }
    return limit
  }

  #frame(index: number): Float32Array {
    const held = this.#held.get(index)
    if (held) return held
    // The first written goes first; its memory is used again.
    const full = this.#held.size > 0 && (this.#held.size + 1) * this.size > KEPT
    const oldest = full ? this.#held.entries().next().value : undefined
    if (oldest) this.#held.delete(oldest[0])
    const frame = oldest ? oldest[1] : new Float32Array(this.size)
    this.#write(index, frame)
    this.#held.set(index, frame)
    return frame
  }

  bytes(index: number, limit: number, scratch: Uint8Array): Uint8Array {
    return bytesFromValues(this.#frame(index), limit, scratch)
  }

  value(index: number, element: number): number {
    return this.#frame(index)[element]!
  }
}

/** Each frame less one of them. The limit is that of the film itself, so that A, B and B − A share their colours. */
export function against(of: Frames, base: number): Frames {
  return new WorkedFrames(
    of,
    of.shape,
    (index, out) => {
      for (let i = 0; i < out.length; i++) out[i] = of.value(index, i) - of.value(base, i)
    },
    of.limit,
  )
}

/** One input channel of kernels [units, inputs, height, width]. */
export function channelOf(of: Frames, channel: number): Frames {
  const [units, inputs, height, width] = of.shape as [number, number, number, number]
  const plane = height * width
  const write = (index: number, out: Float32Array) => {
    for (let u = 0; u < units; u++) {
      for (let i = 0; i < plane; i++) out[u * plane + i] = of.value(index, (u * inputs + channel) * plane + i)
    }
  }
  return new WorkedFrames(of, [units, 1, height, width], write, of.limit)
}

/**
 * Kernels [units, inputs, height, width] in three colours: the parts of each place's inputs along the three principal
 * components of all places of the last frame. The components hold for the whole film, so that colours mean the same.
 */
export function inComponents(of: Frames): Frames {
  const [units, inputs, height, width] = of.shape as [number, number, number, number]
  const plane = height * width
  const last = of.steps.length - 1
  const places = units * plane
  const every = Math.max(1, Math.floor((places * inputs) / 2e6))
  const rows: Float32Array[] = []
  for (let p = 0; p < places; p += every) {
    const [u, i] = [Math.floor(p / plane), p % plane]
    rows.push(Float32Array.from({ length: inputs }, (_, c) => of.value(last, (u * inputs + c) * plane + i) || 0))
  }
  const axes = principal(rows, inputs)
  const write = (index: number, out: Float32Array) => {
    out.fill(0)
    for (let u = 0; u < units; u++) {
      for (let c = 0; c < inputs; c++) {
        const from = (u * inputs + c) * plane
        for (let i = 0; i < plane; i++) {
          const v = of.value(index, from + i)
          for (let k = 0; k < 3; k++) out[(u * 3 + k) * plane + i]! += v * axes[k]![c]!
        }
      }
    }
  }
  return new WorkedFrames(of, [units, 3, height, width], write)
}

/** The three directions of most variance around zero, by power iteration; each with its largest part positive. */
export function principal(rows: readonly Float32Array[], size: number, count = 3): Float64Array[] {
  const found: Float64Array[] = []
  for (let k = 0; k < count; k++) {
    // A fixed beginning, so that the same film always has the same colours.
    let axis = Float64Array.from({ length: size }, (_, i) => Math.cos(1 + i * (k + 1.37)))
    for (let turn = 0; turn < 40; turn++) {
      const next = new Float64Array(size)
      for (const row of rows) {
        let dot = 0
        for (let i = 0; i < size; i++) dot += row[i]! * axis[i]!
        for (let i = 0; i < size; i++) next[i]! += dot * row[i]!
      }
      for (const other of found) {
        let dot = 0
        for (let i = 0; i < size; i++) dot += next[i]! * other[i]!
        for (let i = 0; i < size; i++) next[i]! -= dot * other[i]!
      }
      const norm = Math.hypot(...next)
      if (!(norm > 0)) return [...found, ...Array.from({ length: count - k }, () => new Float64Array(size))]
      axis = next.map((v) => v / norm)
    }
    const largest = axis.reduce((b, v, i) => (Math.abs(v) > Math.abs(axis[b]!) ? i : b), 0)
    found.push(axis[largest]! < 0 ? axis.map((v) => -v) : axis)
  }
  return found
}
