/** Orders of units, and what layers behind make of them. Weights are [units, inputs], row by row. */

export type Order = 'index' | 'influence' | 'similarity'

/** Mean absolute value of each row. */
export function influences(value: (element: number) => number, rows: number, columns: number): Float64Array {
  const found = new Float64Array(rows)
  for (let r = 0; r < rows; r++) {
    let sum = 0
    for (let c = 0; c < columns; c++) sum += Math.abs(value(r * columns + c))
    found[r] = columns ? sum / columns : 0
  }
  return found
}

/** Which unit stands at each place. By influence the strongest comes first; by similarity each is followed by the one
 * most like it (largest cosine) of those that are left, beginning with the strongest. */
export function unitOrder(
  order: Order,
  value: (element: number) => number,
  rows: number,
  columns: number,
): Int32Array | null {
  if (order === 'index' || rows < 2) return null
  const strength = influences(value, rows, columns)
  const byStrength = Int32Array.from({ length: rows }, (_, i) => i).sort(
    (a, b) => (strength[b]! || 0) - (strength[a]! || 0) || a - b,
  )
  // Every pair is compared: of very many units the order by influence must do.
  if (order === 'influence' || rows > 2048 || rows * rows * columns > 4e8) return byStrength
  const unit = new Float32Array(rows * columns)
  for (let r = 0; r < rows; r++) {
    let norm = 0
    for (let c = 0; c < columns; c++) norm += value(r * columns + c) ** 2
    const scale = norm > 0 && Number.isFinite(norm) ? 1 / Math.sqrt(norm) : 0
    for (let c = 0; c < columns; c++) unit[r * columns + c] = scale ? value(r * columns + c) * scale : 0
  }
  const left = new Set(byStrength)
  const found = new Int32Array(rows)
  let at = byStrength[0]!
  for (let place = 0; place < rows; place++) {
    found[place] = at
    left.delete(at)
    let best = -Infinity
    let next = at
    for (const other of left) {
      let cosine = 0
      for (let c = 0; c < columns; c++) cosine += unit[at * columns + c]! * unit[other * columns + c]!
      if (cosine > best) [best, next] = [cosine, other]
    }
    at = next
  }
  return found
}

/** A matrix, read number by number. */
export interface Matrix {
  readonly rows: number
  readonly columns: number
  value(element: number): number
}

/** The product of matrices from the last layer to the first: [outputs of the last, inputs of the first]. */
export function product(layers: readonly Matrix[]): { rows: number; columns: number; values: Float64Array } {
  const last = layers.at(-1)!
  const rows = last.rows
  let columns = last.columns
  let values = Float64Array.from({ length: rows * columns }, (_, i) => last.value(i))
  for (const layer of layers.slice(0, -1).reverse()) {
    const made = new Float64Array(rows * layer.columns)
    for (let r = 0; r < rows; r++) {
      for (let k = 0; k < columns; k++) {
        const v = values[r * columns + k]!
        if (v === 0) continue
        for (let c = 0; c < layer.columns; c++) made[r * layer.columns + c]! += v * layer.value(k * layer.columns + c)
      }
    }
    values = made
    columns = layer.columns
  }
  return { rows, columns, values }
}

/** Places of the largest magnitudes, the largest first. */
export function strongest(values: ArrayLike<number>, most: number): number[] {
  // What is not a number comes first: a comparison with it would leave all in disorder.
  const size = (i: number) => (Number.isNaN(values[i]) ? Infinity : Math.abs(values[i]!))
  return Array.from({ length: values.length }, (_, i) => i)
    .sort((a, b) => (size(a) === size(b) ? a - b : size(b) - size(a)))
    .slice(0, most)
}
