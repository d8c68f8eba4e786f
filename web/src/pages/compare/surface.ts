/** A surface over a plane: colours between its places, and lines of one height. Pure. */

export interface Grid {
  values: ArrayLike<number>
  rows: number
  columns: number
}

/** Lowest value, and the one below which 95 % lie; `clipped` where some lie above. */
export function rangeOf(values: ArrayLike<number>, share = 0.95): { lo: number; hi: number; clipped: boolean } {
  const known = Array.from(values)
    .filter((v) => Number.isFinite(v))
    .sort((a, b) => a - b)
  if (!known.length) return { lo: 0, hi: 1, clipped: false }
  const place = (known.length - 1) * share
  const below = Math.floor(place)
  const hi = known[below]! + (place - below) * ((known[below + 1] ?? known[below]!) - known[below]!)
  const lo = known[0]!
  return hi > lo ? { lo, hi, clipped: hi < known.at(-1)! } : { lo, hi: lo + 1, clipped: false }
}

/** The surface as a picture [height, width] whose corners are those of the grid; the first row lies at the bottom. */
export function sampled({ values, rows, columns }: Grid, width: number, height: number): Float32Array {
  const out = new Float32Array(width * height)
  for (let y = 0; y < height; y += 1) {
    const v = height > 1 ? ((height - 1 - y) / (height - 1)) * (rows - 1) : 0
    const r = Math.min(rows - 1, Math.floor(v))
    const below = Math.min(rows - 1, r + 1)
    for (let x = 0; x < width; x += 1) {
      const u = width > 1 ? (x / (width - 1)) * (columns - 1) : 0
      const c = Math.min(columns - 1, Math.floor(u))
      const next = Math.min(columns - 1, c + 1)
      const top = values[r * columns + c]! * (1 - u + c) + values[r * columns + next]! * (u - c)
      const bottom = values[below * columns + c]! * (1 - u + c) + values[below * columns + next]! * (u - c)
      out[y * width + x] = top * (1 - v + r) + bottom * (v - r)
    }
  }
  return out
}

/** Pieces of the lines at one height: [x1, y1, x2, y2] in places of the grid, column and row. */
export function contour({ values, rows, columns }: Grid, level: number): [number, number, number, number][] {
  const pieces: [number, number, number, number][] = []
  const at = (p: readonly [number, number]) => values[p[0] * columns + p[1]]! - level
  for (let i = 0; i + 1 < rows; i += 1) {
    for (let j = 0; j + 1 < columns; j += 1) {
      const corners = [
        [i, j],
        [i, j + 1],
        [i + 1, j + 1],
        [i + 1, j],
      ] as const
      if (!corners.every((p) => Number.isFinite(at(p)))) continue
      for (const triangle of [
        [0, 1, 2],
        [0, 2, 3],
      ] as const) {
        const ends: number[] = []
        for (let k = 0; k < 3; k += 1) {
          const [p, q] = [corners[triangle[k]!]!, corners[triangle[(k + 1) % 3]!]!]
          const [low, high] = [at(p), at(q)]
          if (low < 0 === high < 0) continue
          const t = low / (low - high)
          ends.push(p[1] + t * (q[1] - p[1]), p[0] + t * (q[0] - p[0]))
        }
        if (ends.length === 4) pieces.push(ends as [number, number, number, number])
      }
    }
  }
  return pieces
}

/** The last place of a growing list that is not after a step; -1 where all are. */
export function placeAt(steps: readonly number[], step: number): number {
  return steps.findLastIndex((one) => one <= step)
}
