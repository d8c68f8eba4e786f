/** Rays through a block: which voxel is under a pixel, and small pictures drawn without a graphics card. Pure. */
import { brightness, dot, FACES, pixelsOf, type Sides, type Turn, type Vector } from './pose'

export interface Hit {
  /** The voxel's number. */
  index: number
  /** Which of its sides (see FACES), and where on it, 0 to 1. */
  face: number
  u: number
  v: number
}

/**
 * The first voxel that is there along a ray from `from`, outside the block, towards `to` (a direction), in voxels; null where it meets none.
 * Goes from one voxel to the next (Amanatides and Woo, "A Fast Voxel Traversal Algorithm for Ray Tracing", 1987).
 */
export function cast(pixels: Uint32Array, [d, h, w]: Sides, from: Vector, to: Vector): Hit | null {
  const size = [w, h, d]
  let enter = -Infinity
  let leave = Infinity
  let axis = 0
  for (let a = 0; a < 3; a += 1) {
    if (Math.abs(to[a]!) < 1e-12) {
      if (from[a]! < 0 || from[a]! >= size[a]!) return null
      continue
    }
    const near = ((to[a]! > 0 ? 0 : size[a]!) - from[a]!) / to[a]!
    const far = ((to[a]! > 0 ? size[a]! : 0) - from[a]!) / to[a]!
    if (near > enter) {
      enter = near
      axis = a
    }
    if (far < leave) leave = far
  }
  if (!(enter < leave) || leave <= 0) return null
  const at = [0, 0, 0]
  const next = [Infinity, Infinity, Infinity]
  const wide = [Infinity, Infinity, Infinity]
  for (let a = 0; a < 3; a += 1) {
    const p = from[a]! + enter * to[a]!
    at[a] = Math.max(0, Math.min(size[a]! - 1, a === axis ? (to[a]! > 0 ? 0 : size[a]! - 1) : Math.floor(p)))
    if (Math.abs(to[a]!) < 1e-12) continue
    wide[a] = 1 / Math.abs(to[a]!)
    next[a] = (at[a]! + (to[a]! > 0 ? 1 : 0) - from[a]!) / to[a]!
  }
  let t = enter
  for (;;) {
    const index = (at[2]! * h + at[1]!) * w + at[0]!
    if (pixels[index]) {
      const on = (a: number) => Math.max(0, Math.min(1, from[a]! + t * to[a]! - at[a]!))
      const [p, q] = axis === 0 ? [2, 1] : axis === 1 ? [0, 2] : [0, 1]
      return { index, face: axis * 2 + (to[axis]! > 0 ? 0 : 1), u: on(p), v: on(q) }
    }
    axis = next[0]! < next[1]! ? (next[0]! < next[2]! ? 0 : 2) : next[1]! < next[2]! ? 1 : 2
    t = next[axis]!
    at[axis]! += to[axis]! > 0 ? 1 : -1
    if (at[axis]! < 0 || at[axis]! >= size[axis]!) return null
    next[axis]! += wide[axis]!
  }
}

/** Where the ray of a pixel begins, in the block's coordinates; it goes along `turn[2]`. */
export function rayFrom(
  x: number,
  y: number,
  turn: Turn,
  [d, h, w]: Sides,
  scale: number,
  width: number,
  height: number,
): Vector {
  const [u, v] = [(x - width / 2) / scale, (y - height / 2) / scale]
  const back = Math.hypot(d, h, w)
  const at = (a: 0 | 1 | 2) => u * turn[0][a] + v * turn[1][a] - back * turn[2][a]
  return [at(0) + w / 2, at(1) + h / 2, at(2) + d / 2]
}

/** The voxel under a pixel of a picture, null where there is none. */
export function pick(
  pixels: Uint32Array,
  sides: Sides,
  turn: Turn,
  zoom: number,
  x: number,
  y: number,
  width: number,
  height: number,
): Hit | null {
  // prettier-ignore
  const scale = pixelsOf(sides, zoom, width, height)
  return cast(pixels, sides, rayFrom(x, y, turn, sides, scale, width, height), turn[2])
}

/** Darker lines where voxels meet, so that they can be told apart; none where they are hardly larger than pixels. */
export const edgeOf = (scale: number): number => (scale < 5 ? 0 : Math.min(0.12, 0.8 / scale))
const EDGE_SHADE = 0.82

/** Draws the cubes into `out` [height * width], pixel by pixel; what shows nothing stays 0. */
export function drawCubes(
  out: Uint32Array,
  width: number,
  height: number,
  pixels: Uint32Array,
  sides: Sides,
  turn: Turn,
  zoom: number,
): void {
  // prettier-ignore
  const scale = pixelsOf(sides, zoom, width, height)
  const edge = edgeOf(scale)
  const bright = FACES.map((face) => brightness(face, turn) ?? 1)
  out.fill(0)
  for (let y = 0; y < height; y += 1)
    for (let x = 0; x < width; x += 1) {
      const hit = cast(pixels, sides, rayFrom(x + 0.5, y + 0.5, turn, sides, scale, width, height), turn[2])
      if (!hit) continue
      const line = Math.min(hit.u, hit.v, 1 - hit.u, 1 - hit.v) < edge ? EDGE_SHADE : 1
      out[y * width + x] = shaded(pixels[hit.index]!, bright[hit.face]! * line)
    }
}

/** A pixel darkened, opaque. */
export function shaded(pixel: number, by: number): number {
  const r = Math.round((pixel & 255) * by)
  const g = Math.round(((pixel >>> 8) & 255) * by)
  const b = Math.round(((pixel >>> 16) & 255) * by)
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0
}

/** The corners of a block's box on a picture, and which pairs of them are its edges (those behind come first). */
export function boxEdges(turn: Turn): { from: Vector; to: Vector; hidden: boolean }[] {
  const found = []
  for (let axis = 0; axis < 3; axis += 1)
    for (const [p, q] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      // prettier-ignore
      const [a, b] = axis === 0 ? [1, 2] : axis === 1 ? [0, 2] : [0, 1]
      const from: [number, number, number] = [0, 0, 0]
      from[a] = p
      from[b] = q
      const to: [number, number, number] = [...from]
      to[axis] = 1
      // Hidden where both faces at this edge look away.
      const faces = [a, b].map((other) => {
        const face: [number, number, number] = [0, 0, 0]
        face[other] = from[other]! ? 1 : -1
        return dot(turn[2], face) >= 0
      })
      found.push({ from: from as Vector, to: to as Vector, hidden: faces[0]! && faces[1]! })
    }
  return found.sort((x, y) => Number(y.hidden) - Number(x.hidden))
}
