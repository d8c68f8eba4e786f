/** The examples themselves: pictures, rows of a table, curves, blocks of slices, texts. */
import { given, type Prepared } from '../../maths/prepared'
import { readTensors, type Tensor } from '../../maths/safetensors'
import { source } from '../../source/source'
import type { ExampleSet } from '../../wire/predictions'

export interface Inputs {
  kind: 'picture' | 'row' | 'grid' | 'block' | 'text'
  count: number
  /** Numbers of one example; empty for texts. */
  shape: number[]
  values: Tensor['values']
  texts: string[]
  /** Least and largest number, over all examples. */
  low: number
  high: number
}

/** Loads the examples of a set; null where none were logged. */
export async function loadInputs(run: string, set: ExampleSet): Promise<Inputs | null> {
  if (!set.inputs_blob) return null
  const bytes = await source().blob(run, set.inputs_blob)
  const empty = { shape: [], values: new Uint8Array(0), texts: [], low: 0, high: 1 }
  if (set.inputs === 'texts') {
    const texts = (JSON.parse(new TextDecoder().decode(bytes)) as unknown[]).map(String)
    return { ...empty, kind: 'text', count: texts.length, texts }
  }
  const tensor = readTensors(bytes).get('inputs')
  if (!tensor) throw new Error('the examples are not in their file')
  return { ...empty, ...inputsOf(tensor, set.inputs === 'pictures') }
}

export function inputsOf(tensor: Tensor, pictures: boolean): Omit<Inputs, 'texts'> {
  const [count = 0, ...shape] = tensor.shape
  const { values } = tensor
  if (pictures && shape.length === 3) return { kind: 'picture', count, shape, values, low: 0, high: 255 }
  let [low, high] = [Infinity, -Infinity]
  for (const v of values) {
    if (v < low && v > -Infinity) low = v
    if (v > high && v < Infinity) high = v
  }
  if (!(low <= high)) [low, high] = [0, 1]
  const kind = shape.length <= 1 ? 'row' : shape.length === 2 ? 'grid' : 'block'
  return { kind, count, shape: shape.length ? shape : [1], values, low, high }
}

/** The numbers of one example. */
export function valuesOf(inputs: Inputs, i: number): Tensor['values'] {
  const size = inputs.shape.reduce((a, b) => a * b, 1)
  return inputs.values.subarray(i * size, (i + 1) * size)
}

/**
 * The numbers of an example to change and ask about: those that the network was given, in the order of its input's axes,
 * or those that were measured, where it is known how they become the others. Null where it is not, or where they do not
 * fit. Pictures are kept in 255 steps, so theirs are rounded to that.
 */
export function askedOf(
  inputs: Inputs,
  i: number,
  set: Pick<ExampleSet, 'shown' | 'prepared' | 'range'>,
  shape: readonly number[],
): { values: number[]; prepared: Prepared | null } | null {
  const count = shape.reduce((a, b) => a * b, 1)
  if (inputs.kind === 'text') return null
  const prepared = set.shown && inputs.kind === 'row' ? set.prepared : null
  if (set.shown && !prepared) return null
  const values = [...valuesOf(inputs, i)]
  if (values.length !== count || !values.every(Number.isFinite)) return null
  if (inputs.kind !== 'picture') return { values, prepared }
  return { values: [...picturesGiven(inputs, set.range, shape.at(-1) === inputs.shape[2], i, 1)], prepared: null }
}

/** All examples as the network was given them, [N, inputs]; null where that is not known. */
export function givenOf(inputs: Inputs, set: Pick<ExampleSet, 'shown' | 'prepared' | 'range'>): Float32Array | null {
  if (inputs.kind === 'text' || (set.shown && !set.prepared)) return null
  if (set.shown) return Float32Array.from(given(inputs.values, set.prepared!))
  if (inputs.kind !== 'picture') return Float32Array.from(inputs.values)
  return picturesGiven(inputs, set.range, false, 0, inputs.count)
}

/** Pictures from the numbers that their bytes stand for, planes first or colours last. */
function picturesGiven(
  inputs: Inputs,
  range: readonly number[] | null,
  last: boolean,
  first: number,
  count: number,
): Float32Array {
  const [lo, hi] = range ?? [0, 255]
  const [height, width, channels] = inputs.shape as [number, number, number]
  const plane = height * width
  const size = plane * channels
  const out = new Float32Array(count * size)
  for (let k = 0; k < out.length; k += 1) {
    const within = k % size
    const from = last ? within : (within % plane) * channels + Math.floor(within / plane)
    out[k] = lo! + (inputs.values[first * size + k - within + from]! / 255) * (hi! - lo!)
  }
  return out
}

/** An example as pixels, RGBA; blocks as their middle slices along each axis, side by side. Null for rows and texts. */
export function pixelsOf(
  inputs: Inputs,
  i: number,
): { width: number; height: number; data: Uint8ClampedArray<ArrayBuffer> } | null {
  const values = valuesOf(inputs, i)
  if (inputs.kind === 'picture') {
    const [height, width, channels] = inputs.shape as [number, number, number]
    const data = new Uint8ClampedArray(width * height * 4)
    for (let k = 0; k < width * height; k += 1) {
      for (let c = 0; c < 3; c += 1) data[k * 4 + c] = values[k * channels + (channels >= 3 ? c : 0)]!
      data[k * 4 + 3] = channels === 4 ? values[k * 4 + 3]! : 255
    }
    return { width, height, data }
  }
  const grey = (v: number) => ((v - inputs.low) / (inputs.high - inputs.low || 1)) * 255
  const painted = (width: number, height: number, at: (row: number, column: number) => number) => {
    const data = new Uint8ClampedArray(width * height * 4)
    for (let r = 0; r < height; r += 1)
      for (let c = 0; c < width; c += 1) {
        const v = at(r, c)
        const k = (r * width + c) * 4
        data.fill(Number.isFinite(v) ? grey(v) : 0, k, k + 3)
        data[k + 3] = Number.isNaN(v) ? 0 : 255
      }
    return { width, height, data }
  }
  if (inputs.kind === 'grid') {
    const [rows, columns] = inputs.shape as [number, number]
    return painted(columns, rows, (r, c) => values[r * columns + c]!)
  }
  if (inputs.kind !== 'block') return null
  // What has more axes than three is shown by its first entries.
  const [depth, height, width] = inputs.shape.slice(-3) as [number, number, number]
  const at = (z: number, y: number, x: number) => values[(z * height + y) * width + x]!
  const [z, y, x] = [depth >> 1, height >> 1, width >> 1]
  const tall = Math.max(height, depth)
  return painted(width + 1 + width + 1 + height, tall, (r, c) => {
    if (c < width) return r < height ? at(z, r, c) : NaN
    if (c > width && c <= 2 * width) return r < depth ? at(r, y, c - width - 1) : NaN
    if (c > 2 * width + 1) return r < depth ? at(r, c - 2 * width - 2, x) : NaN
    return NaN
  })
}

/** Draws an example on a canvas of its own size; for {@attach}. */
export const drawn = (inputs: Inputs, i: number) => (canvas: HTMLCanvasElement) => {
  const pixels = pixelsOf(inputs, i)
  if (!pixels || !pixels.width || !pixels.height) return
  canvas.width = pixels.width
  canvas.height = pixels.height
  canvas.getContext('2d')?.putImageData(new ImageData(pixels.data, pixels.width, pixels.height), 0, 0)
}
