/** The EPF1 container: arrays of numbers behind a small JSON header. */

export type FrameArray = Float32Array | Float64Array | Uint8Array | Uint32Array

export interface NumberArray<T extends FrameArray = FrameArray> {
  shape: number[]
  data: T
}

export interface Container {
  /** What the header says besides the arrays. */
  facts: Record<string, unknown>
  arrays: Record<string, NumberArray>
}

/** A tensor through time. `u1` bytes stand for (byte - 128) / 127 * limit; 0 is a number that is not finite. */
export interface FrameStack {
  series: string
  mode: 'value' | 'change' | 'since'
  encoding: 'f4' | 'u1'
  /** Largest finite absolute value of the whole film; 0 if there is none. */
  limit: number
  lo: number
  hi: number
  /** How many values are NaN or infinite. */
  nonfinite: number
  /** Frames recorded, of which every `stride`-th is here. */
  total: number
  stride: number
  steps: Float64Array
  /** Shape of one frame. */
  shape: number[]
  /** Numbers of one frame. */
  size: number
  data: Float32Array | Uint8Array
}

/** Histograms of a tensor through time, [T, 64], with the outer edges of each row and its statistics [T, columns]. */
export interface HistogramStack {
  steps: Float64Array
  bins: number
  counts: Uint32Array
  lo: Float64Array
  hi: Float64Array
  columns: string[]
  statistics: Float64Array
}

/** One statistic of a tensor through time. */
export interface Column {
  readonly steps: ArrayLike<number>
  readonly values: Float64Array
}

export class WireError extends Error {}

function bigToFloat(buffer: ArrayBuffer, offset: number, n: number): Float64Array {
  const big = new BigInt64Array(buffer, offset, n)
  const out = new Float64Array(n)
  for (let i = 0; i < n; i++) out[i] = Number(big[i])
  return out
}

const READERS: Record<string, [number, (b: ArrayBuffer, at: number, n: number) => FrameArray]> = {
  f4: [4, (b, at, n) => new Float32Array(b, at, n)],
  f8: [8, (b, at, n) => new Float64Array(b, at, n)],
  u1: [1, (b, at, n) => new Uint8Array(b, at, n)],
  u4: [4, (b, at, n) => new Uint32Array(b, at, n)],
  // Steps come as 64-bit integers; a double holds them exactly up to 2^53.
  i8: [8, bigToFloat],
}

/** Reads a container; the arrays are views of `buffer` where their type allows it. */
export function decodeContainer(buffer: ArrayBuffer): Container {
  const head = new Uint8Array(buffer, 0, Math.min(8, buffer.byteLength))
  if (head.length < 8 || String.fromCharCode(head[0]!, head[1]!, head[2]!, head[3]!) !== 'EPF1') {
    throw new WireError('not an EPF1 container')
  }
  const length = new DataView(buffer).getUint32(4, true)
  if (8 + length > buffer.byteLength) throw new WireError('EPF1: the header is cut off')
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length))) as {
    arrays: { name: string; dtype: string; shape: number[] }[]
  } & Record<string, unknown>
  const { arrays: listed, ...facts } = header
  const arrays: Record<string, NumberArray> = {}
  let at = 8 + length
  for (const { name, dtype, shape } of listed) {
    const reader = READERS[dtype]
    if (!reader) throw new WireError(`EPF1: unknown element type ${dtype}`)
    const n = shape.reduce((a, b) => a * b, 1)
    const bytes = n * reader[0]
    if (at + bytes > buffer.byteLength) throw new WireError(`EPF1: array ${name} is cut off`)
    arrays[name] = { shape, data: reader[1](buffer, at, n) }
    at += Math.ceil(bytes / 8) * 8
  }
  return { facts, arrays }
}

function need(container: Container, name: string): NumberArray {
  const array = container.arrays[name]
  if (!array) throw new WireError(`EPF1: array ${name} is missing`)
  return array
}

/** Reads the answer of /frames. */
export function decodeFrames(buffer: ArrayBuffer): FrameStack {
  const container = decodeContainer(buffer)
  const frames = need(container, 'frames')
  const shape = frames.shape.slice(1)
  return {
    ...(container.facts as Omit<FrameStack, 'steps' | 'shape' | 'size' | 'data'>),
    steps: need(container, 'steps').data as Float64Array,
    shape,
    size: shape.reduce((a, b) => a * b, 1),
    data: frames.data as Float32Array | Uint8Array,
  }
}

/** Reads the answer of /statistics: one statistic of each of several tensors through time, by the tensor's series. */
export function decodeStatistics(buffer: ArrayBuffer): ReadonlyMap<string, Column> {
  const container = decodeContainer(buffer)
  const starts = need(container, 'starts').data
  const steps = need(container, 'steps').data as Float64Array
  const values = need(container, 'values').data as Float64Array
  const series = container.facts.series as string[]
  return new Map(
    series.map((name, i) => [
      name,
      { steps: steps.subarray(starts[i], starts[i + 1]), values: values.subarray(starts[i], starts[i + 1]) },
    ]),
  )
}

/** Reads the answer of /histograms. */
export function decodeHistograms(buffer: ArrayBuffer): HistogramStack {
  const container = decodeContainer(buffer)
  const counts = need(container, 'counts')
  return {
    steps: need(container, 'steps').data as Float64Array,
    bins: counts.shape[1] ?? 0,
    counts: counts.data as Uint32Array,
    lo: need(container, 'lo').data as Float64Array,
    hi: need(container, 'hi').data as Float64Array,
    columns: (container.facts.columns as string[] | undefined) ?? [],
    statistics: need(container, 'statistics').data as Float64Array,
  }
}
