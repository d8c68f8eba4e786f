/**
 * Frames of a film as bytes: 1 to 255 are -limit to +limit around 128, 0 is a cell that is not a finite number.
 * Painting looks bytes up in a table of 256 pixels, so a frame costs about a nanosecond a cell.
 */

/** The byte of a value. A finite value never becomes 0; what lies beyond the limit is drawn at the limit. */
export function byteFromValue(v: number, limit: number): number {
  if (!Number.isFinite(v)) return 0
  if (limit <= 0) return 128
  return Math.max(1, Math.min(255, Math.round((v / limit) * 127) + 128))
}

/** The value of a byte, NaN for byte 0. */
export function valueFromByte(byte: number, limit: number): number {
  return byte === 0 ? Number.NaN : ((byte - 128) / 127) * limit
}

/** A frame of floats as bytes. */
export function bytesFromValues(
  values: ArrayLike<number>,
  limit: number,
  out: Uint8Array = new Uint8Array(values.length),
): Uint8Array {
  const scale = limit > 0 ? 127 / limit : 0
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!
    // v - v is 0 for every finite number and NaN for the others: one test instead of two.
    if (v - v !== 0) out[i] = 0
    else {
      const b = Math.round(v * scale) + 128
      out[i] = b < 1 ? 1 : b > 255 ? 255 : b
    }
  }
  return out
}

/** Bytes drawn on another limit, as when all layers share one scale. */
export function rescaleTable(from: number, to: number): Uint8Array {
  const table = new Uint8Array(256)
  for (let i = 1; i < 256; i++) table[i] = byteFromValue(valueFromByte(i, from), to)
  return table
}

/** The largest finite magnitude, and how many values are not finite. */
export function limitOf(values: ArrayLike<number>): { limit: number; nonfinite: number } {
  let limit = 0
  let bad = 0
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!
    if (v - v !== 0) bad++
    else if (v > limit) limit = v
    else if (-v > limit) limit = -v
  }
  return { limit, nonfinite: bad }
}

/** The magnitude below which a part of all finite values lies; of large frames, of an even sample. */
export function bulkLimit(value: (element: number) => number, size: number, part = 0.99): number {
  const every = Math.max(1, Math.floor(size / 20_000))
  const sizes: number[] = []
  for (let i = 0; i < size; i += every) {
    const v = Math.abs(value(i))
    if (v - v === 0) sizes.push(v)
  }
  sizes.sort((a, b) => a - b)
  return sizes[Math.min(sizes.length - 1, Math.floor(part * sizes.length))] ?? 0
}

/** Frame `index` minus another one. */
export function difference(
  frames: Float32Array,
  size: number,
  index: number,
  from: number,
  out: Float32Array = new Float32Array(size),
): Float32Array {
  const a = index * size
  const b = from * size
  for (let i = 0; i < size; i++) out[i] = frames[a + i]! - frames[b + i]!
  return out
}

/** The fixed limit of a whole film of differences: from each previous frame, or from the first. */
export function differenceLimit(
  frames: Float32Array,
  size: number,
  mode: 'change' | 'since',
): { limit: number; nonfinite: number } {
  let limit = 0
  let bad = 0
  const total = size ? frames.length / size : 0
  for (let t = 0; t < total; t++) {
    const base = mode === 'since' ? 0 : Math.max(0, t - 1) * size
    for (let i = 0; i < size; i++) {
      const d = frames[t * size + i]! - frames[base + i]!
      if (d - d !== 0) bad++
      else if (d > limit) limit = d
      else if (-d > limit) limit = -d
    }
  }
  return { limit, nonfinite: bad }
}

/**
 * Shrinks a frame so that nothing that stands out is lost: each cell of the result is the byte with the largest
 * magnitude in its block, and a cell that is not finite always wins.
 */
export function shrink(
  frame: Uint8Array,
  rows: number,
  columns: number,
  toRows: number,
  toColumns: number,
  out: Uint8Array = new Uint8Array(toRows * toColumns),
): Uint8Array {
  const lefts = Int32Array.from({ length: toColumns + 1 }, (_, x) => Math.floor((x * columns) / toColumns))
  const best = new Uint8Array(toColumns)
  for (let y = 0; y < toRows; y++) {
    const top = Math.floor((y * rows) / toRows)
    const bottom = Math.max(top + 1, Math.floor(((y + 1) * rows) / toRows))
    best.fill(128)
    for (let r = top; r < bottom; r++) {
      const line = r * columns
      for (let x = 0; x < toColumns; x++) {
        let chosen = best[x]!
        const from = lefts[x]!
        const end = Math.max(from + 1, lefts[x + 1]!)
        for (let c = from; c < end && chosen !== 0; c++) {
          const b = frame[line + c]!
          if (b === 0 || Math.abs(b - 128) > Math.abs(chosen - 128)) chosen = b
        }
        best[x] = chosen
      }
    }
    out.set(best, y * toColumns)
  }
  return out
}

/** The frame turned on its side. */
export function transpose(
  frame: Uint8Array,
  rows: number,
  columns: number,
  out: Uint8Array = new Uint8Array(frame.length),
): Uint8Array {
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = frame[r * columns + c]!
  return out
}
