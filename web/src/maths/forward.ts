/** Chains of linear layers, calculated: what each unit puts out for each of many examples. */

export interface Dense {
  /** [units, inputs], row by row. */
  readonly weight: ArrayLike<number>
  readonly bias: ArrayLike<number> | null
  readonly units: number
  readonly inputs: number
  /** Plain name of the function applied to what it puts out, null for none. */
  readonly activation: string | null
}

type Rows = Float32Array

/** In place, on rows of `width` numbers; false for a function that is not known. */
const FUNCTIONS: Record<string, (x: Rows, width: number) => void> = {
  linear: () => {},
  relu: (x) => x.forEach((v, i) => v < 0 && (x[i] = 0)),
  leakyrelu: (x) => x.forEach((v, i) => v < 0 && (x[i] = 0.01 * v)),
  sigmoid: (x) => x.forEach((v, i) => (x[i] = 1 / (1 + Math.exp(-v)))),
  tanh: (x) => x.forEach((v, i) => (x[i] = Math.tanh(v))),
  softmax: (x, width) => eachRow(x, width, (row) => normalise(row, false)),
  logsoftmax: (x, width) => eachRow(x, width, (row) => normalise(row, true)),
}

export const plainName = (activation: string | null) => activation?.toLowerCase().replaceAll('_', '') ?? 'linear'
export const isKnown = (activation: string | null) => Object.hasOwn(FUNCTIONS, plainName(activation))

function eachRow(x: Rows, width: number, act: (row: Rows) => void): void {
  for (let i = 0; i < x.length; i += width) act(x.subarray(i, i + width))
}

function normalise(row: Rows, logarithm: boolean): void {
  const most = row.reduce((m, v) => Math.max(m, v), -Infinity)
  const sum = row.reduce((s, v) => s + Math.exp(v - most), 0)
  row.forEach((v, i) => (row[i] = logarithm ? v - most - Math.log(sum) : Math.exp(v - most) / sum))
}

/** What the layers put out for examples [N, inputs] one after another: [N, units] of the last of them. */
export function forward(layers: readonly Dense[], examples: Rows, count: number): Rows {
  let flow = examples
  for (const layer of layers) {
    const { weight, bias, units, inputs } = layer
    const next = new Float32Array(count * units)
    for (let n = 0; n < count; n++) {
      for (let u = 0; u < units; u++) {
        let sum = bias ? bias[u]! : 0
        for (let i = 0, w = u * inputs, x = n * inputs; i < inputs; i++) sum += weight[w + i]! * flow[x + i]!
        next[n * units + u] = sum
      }
    }
    FUNCTIONS[plainName(layer.activation)]?.(next, units)
    flow = next
  }
  return flow
}

/** Place of the largest number of each row. */
export function largestPlaces(rows: Rows, width: number): Uint32Array {
  const found = new Uint32Array(width ? rows.length / width : 0)
  for (let n = 0; n < found.length; n++) {
    for (let i = 1; i < width; i++) if (rows[n * width + i]! > rows[n * width + found[n]!]!) found[n] = i
  }
  return found
}

/** Correlation (Pearson's) of numbers with being of each class; NaN where either never changes. */
export function classCorrelations(values: Rows, labels: ArrayLike<number>, classes: number): Float64Array {
  const count = values.length
  const mean = values.reduce((s, v) => s + v, 0) / count
  const spread = Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / count)
  return Float64Array.from({ length: classes }, (_, c) => {
    let [members, sum] = [0, 0]
    for (let n = 0; n < count; n++) {
      if (labels[n] !== c) continue
      members++
      sum += values[n]! - mean
    }
    const part = members / count
    const other = Math.sqrt(part * (1 - part))
    return spread > 0 && other > 0 ? sum / count / (spread * other) : Number.NaN
  })
}
