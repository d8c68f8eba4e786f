/** Frames in step order, whatever stacks they came in; read as bytes to paint and as numbers to show. */

import { bytesFromValues, rescaleTable, valueFromByte } from '../maths/frames'
import { indexAtOrBefore } from '../maths/search'

/** Stacks as `wire/frames.ts` decodes them, as far as they matter here. */
export interface Stack {
  readonly encoding: 'f4' | 'u1'
  readonly limit: number
  readonly nonfinite: number
  readonly total: number
  readonly stride: number
  readonly steps: ArrayLike<number>
  readonly shape: readonly number[]
  readonly size: number
  readonly data: Float32Array | Uint8Array
}

/** What every film can do, recorded or worked out. */
export interface Frames {
  readonly steps: Float64Array
  readonly shape: readonly number[]
  readonly size: number
  /** One limit for the whole film, so that colours mean the same at every step. */
  readonly limit: number
  readonly nonfinite: number
  /** Frames that were recorded; more than `steps.length` where only every n-th is here. */
  readonly total: number
  /** Every how many-th recorded frame is here. */
  readonly stride: number
  /** True when values are floats as recorded, not bytes. */
  readonly exact: boolean
  /** Frame `index` as bytes on a limit; may be a view of the film, so it is only for reading. */
  bytes(index: number, limit: number, scratch: Uint8Array): Uint8Array
  value(index: number, element: number): number
}

interface Place {
  readonly stack: Stack
  readonly index: number
}

/** A recorded film. Adding a stack gives a new one, so that what is drawn from it notices. */
export class RecordedFrames implements Frames {
  readonly steps: Float64Array
  readonly shape: readonly number[]
  readonly size: number
  readonly limit: number
  readonly nonfinite: number
  readonly total: number
  readonly stride: number
  readonly exact: boolean
  readonly #places: readonly Place[]

  constructor(stacks: readonly Stack[]) {
    const first = stacks[0]
    this.shape = first?.shape ?? []
    this.size = first?.size ?? 0
    const byStep = new Map<number, Place>()
    for (const stack of stacks) {
      for (let index = 0; index < stack.steps.length; index++) {
        const before = byStep.get(stack.steps[index]!)
        // A step that came twice is kept as floats where it can be.
        if (!before || before.stack.encoding === 'u1') byStep.set(stack.steps[index]!, { stack, index })
      }
    }
    this.steps = Float64Array.from(byStep.keys()).sort()
    this.#places = Array.from(this.steps, (s) => byStep.get(s)!)
    this.limit = stacks.reduce((m, s) => Math.max(m, s.limit), 0)
    this.nonfinite = stacks.reduce((m, s) => m + s.nonfinite, 0)
    this.stride = first?.stride ?? 1
    this.total = Math.max(first?.total ?? 0, this.steps.length)
    this.exact = stacks.every((s) => s.encoding === 'f4')
  }

  bytes(index: number, limit: number, scratch: Uint8Array): Uint8Array {
    const { stack, index: at } = this.#places[index]!
    const part = stack.data.subarray(at * this.size, (at + 1) * this.size)
    if (stack.encoding === 'f4') return bytesFromValues(part, limit, scratch)
    if (stack.limit === limit) return part as Uint8Array
    const table = rescale(stack.limit, limit)
    for (let i = 0; i < part.length; i++) scratch[i] = table[part[i]!]!
    return scratch
  }

  value(index: number, element: number): number {
    const { stack, index: at } = this.#places[index]!
    const raw = stack.data[at * this.size + element]!
    return stack.encoding === 'f4' ? raw : valueFromByte(raw, stack.limit)
  }
}

/** Each frame less the one before it (`change`), or less the first one (`since`). */
export class DifferenceFrames implements Frames {
  readonly steps: Float64Array
  readonly shape: readonly number[]
  readonly size: number
  readonly limit: number
  readonly nonfinite: number
  readonly total: number
  readonly stride: number
  readonly exact: boolean
  readonly #of: Frames
  readonly #mode: 'change' | 'since'

  constructor(of: Frames, mode: 'change' | 'since') {
    this.#of = of
    this.#mode = mode
    this.steps = of.steps
    this.shape = of.shape
    this.size = of.size
    this.total = of.total
    this.stride = of.stride
    this.exact = of.exact
    let limit = 0
    let bad = 0
    for (let t = 0; t < this.steps.length; t++) {
      for (let i = 0; i < this.size; i++) {
        const d = Math.abs(this.value(t, i))
        if (d - d !== 0) bad++
        else if (d > limit) limit = d
      }
    }
    this.limit = limit
    this.nonfinite = bad
  }

  bytes(index: number, limit: number, scratch: Uint8Array): Uint8Array {
    const values = new Float32Array(this.size)
    for (let i = 0; i < this.size; i++) values[i] = this.value(index, i)
    return bytesFromValues(values, limit, scratch)
  }

  value(index: number, element: number): number {
    const base = this.#mode === 'since' ? 0 : Math.max(0, index - 1)
    return this.#of.value(index, element) - this.#of.value(base, element)
  }
}

/** The frame to show at a step: the nearest at or before it; the first one when all come later; -1 without frames. */
export function frameAt(frames: Frames, step: number): number {
  return frames.steps.length ? Math.max(0, indexAtOrBefore(frames.steps, step)) : -1
}

const tables = new Map<string, Uint8Array>()

function rescale(from: number, to: number): Uint8Array {
  const key = `${from} ${to}`
  let table = tables.get(key)
  if (!table) {
    if (tables.size > 500) tables.clear()
    table = rescaleTable(from, to)
    tables.set(key, table)
  }
  return table
}
