/** Numbers as grids of colours, and points seen from a side. Pure. */
import type { Tensor } from '../../../maths/safetensors'

export interface Extent {
  low: number
  high: number
  nonfinite: number
}

/** The least and greatest finite value. */
export function extentOf(values: ArrayLike<number>): Extent {
  let low = Infinity
  let high = -Infinity
  let nonfinite = 0
  for (let k = 0; k < values.length; k += 1) {
    const value = values[k]!
    if (!Number.isFinite(value)) nonfinite += 1
    else {
      if (value < low) low = value
      if (value > high) high = value
    }
  }
  return low <= high ? { low, high, nonfinite } : { low: 0, high: 0, nonfinite }
}

/** An array as rows and columns: one axis is a row, further ones in front are put below each other. */
export function asGrid(tensor: Tensor): { rows: number; columns: number } {
  const { shape, values } = tensor
  const columns = shape.at(-1) ?? 1
  return { rows: columns ? values.length / columns : 0, columns }
}

/** Where a value lies between two others, from 0 to 1. */
export const within = (value: number, low: number, high: number): number =>
  high > low ? (value - low) / (high - low) : 0.5

/** One slice through a block [D, H, W] at a place of an axis, as rows and columns. */
export function sliceOf(
  block: Tensor,
  axis: 0 | 1 | 2,
  at: number,
): { rows: number; columns: number; values: Float64Array } {
  const [d, h, w] = block.shape as [number, number, number]
  const step = block.values.length / (d * h * w)
  const [rows, columns] = axis === 0 ? [h, w] : axis === 1 ? [d, w] : [d, h]
  const values = new Float64Array(rows * columns)
  for (let r = 0; r < rows; r += 1)
    for (let c = 0; c < columns; c += 1) {
      const [z, y, x] = axis === 0 ? [at, r, c] : axis === 1 ? [r, at, c] : [r, c, at]
      values[r * columns + c] = block.values[((z * h + y) * w + x) * step]!
    }
  return { rows, columns, values }
}

/**
 * The first two principal components of vectors [N, D], by power iteration on their covariance; the same vectors always
 * give the same picture. Returns [N, 2].
 */
export function principal(values: ArrayLike<number>, n: number, d: number): Float64Array {
  const mean = new Float64Array(d)
  for (let i = 0; i < n; i += 1) for (let j = 0; j < d; j += 1) mean[j]! += values[i * d + j]! / n
  const centred = new Float64Array(n * d)
  for (let i = 0; i < n; i += 1)
    for (let j = 0; j < d; j += 1) {
      const value = values[i * d + j]! - mean[j]!
      centred[i * d + j] = Number.isFinite(value) ? value : 0
    }
  const found: Float64Array[] = []
  for (let k = 0; k < Math.min(2, d); k += 1) {
    let axis = Float64Array.from({ length: d }, (_, j) => 1 + ((j * 7919 + k * 104729) % 101) / 101)
    for (let round = 0; round < 60; round += 1) {
      const next = new Float64Array(d)
      for (let i = 0; i < n; i += 1) {
        let dot = 0
        for (let j = 0; j < d; j += 1) dot += centred[i * d + j]! * axis[j]!
        for (let j = 0; j < d; j += 1) next[j]! += dot * centred[i * d + j]!
      }
      for (const other of found) {
        let dot = 0
        for (let j = 0; j < d; j += 1) dot += next[j]! * other[j]!
        for (let j = 0; j < d; j += 1) next[j]! -= dot * other[j]!
      }
      const size = Math.hypot(...next)
      if (size < 1e-12) break
      axis = next.map((x) => x / size)
    }
    // The sign of a component means nothing: the largest part of it points up.
    const largest = axis.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0)
    found.push(largest < 0 ? axis.map((x) => -x) : axis)
  }
  const out = new Float64Array(n * 2)
  found.forEach((axis, k) => {
    for (let i = 0; i < n; i += 1) {
      let dot = 0
      for (let j = 0; j < d; j += 1) dot += centred[i * d + j]! * axis[j]!
      out[i * 2 + k] = dot
    }
  })
  return out
}

/** Points [N, 3] turned by two angles (radians) around their middle: x, y from -1 to 1, and how near each is. */
export function turned(points: ArrayLike<number>, yaw: number, pitch: number): Float64Array {
  const n = points.length / 3
  const low = [Infinity, Infinity, Infinity]
  const high = [-Infinity, -Infinity, -Infinity]
  for (let i = 0; i < n * 3; i += 1) {
    const value = points[i]!
    if (!Number.isFinite(value)) continue
    low[i % 3] = Math.min(low[i % 3]!, value)
    high[i % 3] = Math.max(high[i % 3]!, value)
  }
  const middle = low.map((l, k) => (l + high[k]!) / 2)
  const reach = Math.max(1e-12, Math.hypot(...low.map((l, k) => (high[k]! - l) / 2)))
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)]
  const out = new Float64Array(n * 3)
  for (let i = 0; i < n; i += 1) {
    const x = (points[i * 3]! - middle[0]!) / reach
    const y = (points[i * 3 + 1]! - middle[1]!) / reach
    const z = (points[i * 3 + 2]! - middle[2]!) / reach
    const side = cy * x + sy * z
    const deep = -sy * x + cy * z
    out[i * 3] = side
    out[i * 3 + 1] = cp * y - sp * deep
    out[i * 3 + 2] = sp * y + cp * deep
  }
  return out
}
