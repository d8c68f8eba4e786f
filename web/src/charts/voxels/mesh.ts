/** The sides of voxels that can be seen from somewhere, as vertices. Pure. */
import type { Sides } from './pose'

export interface Mesh {
  /** Two words for each of a side's four corners: x, y, z and which corner, a byte each; then its colour. */
  vertices: Uint32Array<ArrayBuffer>
  /** Sides that look in each of the six directions (see FACES), one after another: how many. */
  counts: readonly number[]
}

/** More sides than these are drawn ray by ray instead. */
export const MOST_SIDES = 150_000

/** Corners of a side in the order of a strip: which way from the voxel's place, for x, y, z. */
const CORNERS: readonly (readonly (readonly [number, number, number])[])[] = [
  [[0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]],
  [[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]],
  [[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1]],
  [[0, 1, 0], [1, 1, 0], [0, 1, 1], [1, 1, 1]],
  [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]],
  [[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]],
] // prettier-ignore

/** The sides that no other voxel covers; null where they are too many. */
export function meshOf(pixels: Uint32Array, [d, h, w]: Sides, most = MOST_SIDES): Mesh | null {
  const counts = [0, 0, 0, 0, 0, 0]
  const bare = (z: number, y: number, x: number, k: number, face: number): boolean => {
    switch (face) {
      case 0:
        return x === 0 || !pixels[k - 1]
      case 1:
        return x === w - 1 || !pixels[k + 1]
      case 2:
        return y === 0 || !pixels[k - w]
      case 3:
        return y === h - 1 || !pixels[k + w]
      case 4:
        return z === 0 || !pixels[k - w * h]
      default:
        return z === d - 1 || !pixels[k + w * h]
    }
  }
  const each = (found: (face: number, z: number, y: number, x: number, k: number) => void) => {
    let k = 0
    for (let z = 0; z < d; z += 1)
      for (let y = 0; y < h; y += 1)
        for (let x = 0; x < w; x += 1, k += 1) {
          if (!pixels[k]) continue
          for (let face = 0; face < 6; face += 1) if (bare(z, y, x, k, face)) found(face, z, y, x, k)
        }
  }
  each((face) => {
    counts[face]! += 1
  })
  const total = counts.reduce((a, b) => a + b, 0)
  if (total > most) return null
  const vertices = new Uint32Array(total * 8)
  const at = counts.map((_, face) => counts.slice(0, face).reduce((a, b) => a + b, 0) * 8)
  each((face, z, y, x, k) => {
    let to = at[face]!
    const corners = CORNERS[face]!
    for (let c = 0; c < 4; c += 1) {
      const [dx, dy, dz] = corners[c]!
      vertices[to] = ((x + dx) | ((y + dy) << 8) | ((z + dz) << 16) | (c << 24)) >>> 0
      vertices[to + 1] = pixels[k]!
      to += 2
    }
    at[face] = to
  })
  return { vertices, counts }
}

/** Two triangles for each of so many sides. */
export function triangles(sides: number): Uint32Array<ArrayBuffer> {
  const out = new Uint32Array(sides * 6)
  for (let k = 0; k < sides; k += 1) out.set([4 * k, 4 * k + 1, 4 * k + 2, 4 * k + 2, 4 * k + 1, 4 * k + 3], 6 * k)
  return out
}
