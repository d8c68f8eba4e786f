import { describe, expect, it } from 'vitest'
import { blockOf, blockScale, painted, placeOf, shareOf, sliceOf, solidCount, valueAt, type Block } from './block'
import { rgbOf } from './colours'
import { meshOf, triangles } from './mesh'
import { boxEdges, cast, drawCubes, pick, rayFrom } from './rays'
import {
  bounded, brightness, dot, dragged, FACES, FRONT, pixelsOf, project, readPose, turnOf, USUAL, writePose, zoomed,
  type Pose, type Sides, type Vector,
} from './pose' // prettier-ignore

/** Numbers that look like chance and are the same each time. */
function chance(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}
const solid = (sides: Sides, at: readonly (readonly [number, number, number])[]) => {
  const pixels = new Uint32Array(sides[0] * sides[1] * sides[2])
  for (const [z, y, x] of at) pixels[(z * sides[1] + y) * sides[2] + x] = 0xff0000ff
  return pixels
}
const poses: Pose[] = [USUAL, FRONT, { yaw: 2.2, pitch: -1.1, zoom: 1.7 }, { yaw: -1.4, pitch: 0.02, zoom: 0.8 }]

describe('a pose', () => {
  it('is a rotation: lengths and right angles stay', () => {
    for (const pose of poses) {
      const turn = turnOf(pose)
      for (let a = 0; a < 3; a += 1)
        for (let b = 0; b < 3; b += 1) expect(dot(turn[a]!, turn[b]!)).toBeCloseTo(a === b ? 1 : 0, 12)
      const [[a, b, c], [d, e, f], [g, h, i]] = turn
      expect(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)).toBeCloseTo(1, 12)
    }
  })

  it('shows the first slice in front as a picture: columns to the right, rows down', () => {
    const sides: Sides = [4, 5, 6]
    const turn = turnOf(FRONT)
    const at = (x: number, y: number, z: number) => project([x, y, z], turn, sides, 10, 100, 100)
    expect(at(3, 2.5, 2)).toEqual({ x: 50, y: 50, away: 0 })
    expect(at(4, 2.5, 2).x).toBe(60)
    expect(at(3, 3.5, 2).y).toBe(60)
    expect(at(3, 2.5, 0).away).toBeLessThan(0)
  })

  it('takes what was on the right to the front in a quarter turn', () => {
    // A drag to the left by half the size: the right side comes to the front.
    const pose = dragged(FRONT, -200, 0, 400)
    expect(pose.yaw).toBeCloseTo(Math.PI / 2, 12)
    const found = project([6, 2, 2], turnOf(pose), [4, 4, 6], 10, 100, 100)
    expect(found.x).toBeCloseTo(50, 9)
    expect(found.away).toBeCloseTo(-3, 9)
    // Dragged down, the top comes into sight.
    expect(brightness(FACES[2]!, turnOf(dragged(FRONT, 0, 60, 400)))).not.toBeNull()
    expect(brightness(FACES[3]!, turnOf(dragged(FRONT, 0, 60, 400)))).toBeNull()
  })

  it('fits the picture however it is turned', () => {
    const sides: Sides = [9, 30, 17]
    for (const pose of poses) {
      const scale = pixelsOf(sides, 1, 300, 200)
      for (const { from, to } of boxEdges(turnOf(pose)))
        for (const corner of [from, to]) {
          const point: Vector = [corner[0] * 17, corner[1] * 30, corner[2] * 9]
          const { x, y } = project(point, turnOf(pose), sides, scale, 300, 200)
          expect(x > 0 && x < 300 && y > 0 && y < 200).toBe(true)
        }
    }
  })

  it('is kept within bounds and in the address', () => {
    expect(zoomed({ yaw: 0, pitch: 0, zoom: 10 }, 5).zoom).toBe(12)
    expect(bounded({ yaw: 7, pitch: 9, zoom: 0 }).pitch).toBe(Math.PI / 2)
    expect(bounded({ yaw: 7, pitch: 9, zoom: 0 }).yaw).toBeCloseTo(7 - 2 * Math.PI, 12)
    expect(bounded({ yaw: NaN, pitch: Infinity, zoom: NaN })).toEqual({ ...USUAL, zoom: 1 })
    for (const pose of poses) {
      const again = readPose(writePose(pose))
      expect(again.yaw).toBeCloseTo(pose.yaw, 2)
      expect(again.pitch).toBeCloseTo(pose.pitch, 2)
      expect(again.zoom).toBeCloseTo(pose.zoom, 2)
    }
    for (const text of ['', '1,2', 'a,b,c', '1,2,3,4']) expect(readPose(text)).toEqual(USUAL)
  })
})

describe('a block', () => {
  const values = Float32Array.from({ length: 24 }, (_, k) => k - 4)

  it('knows its extent and what is not finite', () => {
    const some = Float32Array.from(values)
    some[3] = NaN
    some[5] = Infinity
    const block = blockOf({ shape: [2, 3, 4], values: some, dtype: 'F32' })!
    expect([block.sides, block.low, block.high, block.nonfinite]).toEqual([[2, 3, 4], -4, 19, 2])
    expect(blockOf({ shape: [3, 4], values: new Float32Array(12) })).toBeNull()
    expect(blockOf({ shape: [0, 3, 4], values: new Float32Array(0) })).toBeNull()
    const none = blockOf({ shape: [1, 1, 2], values: Float32Array.of(NaN, NaN) })!
    expect([none.low, none.high, none.nonfinite]).toEqual([0, 0, 2])
  })

  it('takes the first channel of an input and the colours of a recorded value', () => {
    const block = blockOf({ shape: [2, 1, 2, 2], values: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8) })!
    expect(Array.from(block.values)).toEqual([1, 2, 3, 4])
    expect(block.sides).toEqual([1, 2, 2])
    const coloured = blockOf(
      { shape: [1, 1, 2, 3], values: Uint8Array.of(255, 0, 0, 0, 9, 0), dtype: 'U8' }, true,
    )! // prettier-ignore
    expect([coloured.sides, Array.from(coloured.values)]).toEqual([[1, 1, 2], [255, 9]]) // prettier-ignore
    const pixels = painted(coloured, blockScale(0, 255), 0, new Uint32Array(256), [1, 2, 3])
    expect([...pixels]).toEqual([0xff0000ff, 0xff000900])
  })

  it('is thinned where it is large', () => {
    const shape = [2, 2, 300] as const
    const block = blockOf({ shape, values: Float32Array.from({ length: 1200 }, (_, k) => k % 300) })!
    expect([block.stride, block.sides]).toEqual([3, [1, 1, 100]])
    expect(block.values[7]).toBe(21)
  })

  it('has a scale around zero, from zero, or between its own ends', () => {
    expect(blockScale(-2, 5)).toEqual({ low: -5, high: 5, signed: true })
    expect(blockScale(0, 3)).toEqual({ low: 0, high: 3, signed: false })
    expect(blockScale(9, 10)).toEqual({ low: 9, high: 10, signed: false })
    expect(blockScale(0, 0)).toEqual({ low: 0, high: 1, signed: false })
    expect(blockScale(4, 4)).toEqual({ low: 0, high: 4, signed: false })
    for (const scale of [blockScale(-2, 5), blockScale(0, 3), blockScale(9, 10)])
      for (const share of [0, 0.25, 1]) expect(shareOf(scale, valueAt(scale, share))).toBeCloseTo(share, 12)
  })

  it('draws what lies above the threshold, by size where values have signs, and always what is not finite', () => {
    const table = Uint32Array.from({ length: 256 }, (_, k) => (0xff000000 | k) >>> 0)
    const of = (...v: number[]) => blockOf({ shape: [1, 1, v.length], values: Float32Array.from(v) })!
    const block: Block = of(-4, -1, 0, 1, 4, NaN)
    const pixels = painted(block, blockScale(-4, 4), 1, table, [9, 9, 9])
    expect([...pixels].map((p) => (p ? p & 255 : null))).toEqual([0, null, null, null, 255, 9])
    expect(solidCount(pixels)).toBe(3)
    // Nothing is drawn of zeros, and of what equals the threshold.
    expect(solidCount(painted(of(0, 0), blockScale(0, 0), 0, table, [0, 0, 0]))).toBe(0)
    // Glass: the larger, the more opaque.
    const glass = [...painted(of(0, 1, 2, 4), blockScale(0, 4), 0, table, [0, 0, 0], true)].map((p) => p >>> 24)
    expect(glass[0]).toBe(0)
    expect(glass[3]).toBe(255)
    expect(glass[1]! < glass[2]! && glass[2]! < 255 && glass[1]! > 0).toBe(true)
  })

  it('is cut into slices whose pictures name the voxels they show', () => {
    const sides: Sides = [3, 4, 5]
    for (const axis of [0, 1, 2] as const)
      for (let at = 0; at < sides[axis]; at += 1) {
        const slice = sliceOf(sides, axis, at)
        for (let r = 0; r < slice.rows; r += 1)
          for (let c = 0; c < slice.columns; c += 1) {
            const [z, y, x] = placeOf(slice.index(r, c), sides)
            expect([z, y, x]).toEqual(axis === 0 ? [at, r, c] : axis === 1 ? [r, at, c] : [c, r, at])
          }
      }
  })
})

/** By brute force: of all voxels that are there, the one whose box the ray enters first. */
function bruteForce(pixels: Uint32Array, sides: Sides, from: Vector, to: Vector): { index: number; t: number } | null {
  let best: { index: number; t: number } | null = null
  for (let k = 0; k < pixels.length; k += 1) {
    if (!pixels[k]) continue
    const [z, y, x] = placeOf(k, sides)
    const low: Vector = [x, y, z]
    let [enter, leave] = [-Infinity, Infinity]
    for (const a of [0, 1, 2] as const) {
      const [one, other] = [(low[a] - from[a]) / to[a], (low[a] + 1 - from[a]) / to[a]]
      enter = Math.max(enter, Math.min(one, other))
      leave = Math.min(leave, Math.max(one, other))
    }
    if (enter < leave - 1e-9 && (!best || enter < best.t)) best = { index: k, t: enter }
  }
  return best
}

describe('a ray', () => {
  it('meets the same voxel as when all are tried', () => {
    const random = chance(7)
    let hits = 0
    for (let round = 0; round < 400; round += 1) {
      const sides: Sides = [1 + Math.floor(random() * 6), 1 + Math.floor(random() * 6), 1 + Math.floor(random() * 6)]
      const pixels = Uint32Array.from({ length: sides[0] * sides[1] * sides[2] }, () => (random() < 0.3 ? 1 : 0))
      const pose = bounded({ yaw: random() * 7 - 3.5, pitch: random() * 3 - 1.5, zoom: 1 })
      const turn = turnOf(pose)
      const from = rayFrom(random() * 100, random() * 100, turn, sides, pixelsOf(sides, 1, 100, 100), 100, 100)
      const expected = bruteForce(pixels, sides, from, turn[2])
      const found = cast(pixels, sides, from, turn[2])
      expect(found?.index ?? null).toBe(expected?.index ?? null)
      if (!found) continue
      hits += 1
      // The side that is hit looks towards the viewer, and the place on it is where the ray is.
      expect(dot(turn[2], FACES[found.face]!)).toBeLessThan(0)
      const p = [0, 1, 2].map((a) => from[a]! + expected!.t * turn[2][a]!)
      const [z, y, x] = placeOf(found.index, sides)
      const on = [p[0]! - x, p[1]! - y, p[2]! - z]
      const axis = found.face >> 1
      const [u, v] = axis === 0 ? [on[2], on[1]] : axis === 1 ? [on[0], on[2]] : [on[0], on[1]]
      expect(found.u).toBeCloseTo(u!, 6)
      expect(found.v).toBeCloseTo(v!, 6)
    }
    expect(hits).toBeGreaterThan(80)
  })

  it('goes straight along the axes, also where it has no part across them', () => {
    const sides: Sides = [3, 3, 3]
    const pixels = solid(sides, [[1, 1, 1]])
    expect(pick(pixels, sides, turnOf(FRONT), 1, 50, 50, 100, 100)?.index).toBe(13)
    expect(pick(pixels, sides, turnOf(FRONT), 1, 10, 50, 100, 100)).toBeNull()
    expect(cast(pixels, sides, [1.5, 1.5, -5], [0, 0, 1])?.face).toBe(4)
    expect(cast(pixels, sides, [1.5, 9, 1.5], [0, -1, 0])?.face).toBe(3)
    expect(cast(pixels, sides, [1.5, 9, 1.5], [0, 1, 0])).toBeNull()
  })

  it('draws a cube where it is, and a quarter turn takes it where it must be', () => {
    // Right of the middle, halfway down, in front.
    const sides: Sides = [5, 5, 5]
    const pixels = solid(sides, [[0, 2, 4]])
    const at = (pose: Pose) => {
      const out = new Uint32Array(100 * 100)
      drawCubes(out, 100, 100, pixels, sides, turnOf(pose), 1)
      let [x, y, n] = [0, 0, 0]
      out.forEach((p, k) => {
        if (!p) return
        x += (k % 100) + 0.5
        y += Math.floor(k / 100) + 0.5
        n += 1
      })
      return n ? [x / n, y / n, n] : null
    }
    const px = pixelsOf(sides, 1, 100, 100)
    const front = at(FRONT)!
    expect(front[0]).toBeCloseTo(50 + 2 * px, 0)
    expect(front[1]).toBeCloseTo(50, 0)
    expect(Math.sqrt(front[2]!)).toBeCloseTo(px, 0)
    const quarter = at({ ...FRONT, yaw: Math.PI / 2 })!
    expect(quarter[0]).toBeCloseTo(50 - 2 * px, 0)
    expect(at({ ...FRONT, yaw: Math.PI })![0]).toBeCloseTo(50 - 2 * px, 0)
    expect(at({ ...FRONT, pitch: Math.PI / 2 })![1]).toBeCloseTo(50 + 2 * px, 0)
  })
})

describe('the sides that are drawn', () => {
  it('are those with nothing before them', () => {
    const random = chance(11)
    const sides: Sides = [4, 5, 3]
    const [d, h, w] = sides
    const pixels = Uint32Array.from({ length: d * h * w }, () => (random() < 0.4 ? 0xff123456 : 0))
    const there = (z: number, y: number, x: number) =>
      z >= 0 && y >= 0 && x >= 0 && z < d && y < h && x < w && pixels[(z * h + y) * w + x] !== 0
    const expected = FACES.map(([dx, dy, dz]) => {
      let count = 0
      for (let z = 0; z < d; z += 1)
        for (let y = 0; y < h; y += 1)
          for (let x = 0; x < w; x += 1) if (there(z, y, x) && !there(z + dz, y + dy, x + dx)) count += 1
      return count
    })
    const mesh = meshOf(pixels, sides)!
    expect(mesh.counts).toEqual(expected)
    const total = expected.reduce((a, b) => a + b)
    expect(mesh.vertices.length).toBe(total * 8)
    expect(meshOf(pixels, sides, total - 1)).toBeNull()
    // Every corner of a side lies in its plane, and the four are those of a unit square.
    let side = 0
    mesh.counts.forEach((count, face) => {
      for (let n = 0; n < count; n += 1, side += 1) {
        const corners = [0, 1, 2, 3].map((c) => {
          const word = mesh.vertices[(side * 4 + c) * 2]!
          expect(word >>> 24).toBe(c)
          return [word & 255, (word >>> 8) & 255, (word >>> 16) & 255]
        })
        const axis = face >> 1
        expect(new Set(corners.map((p) => p[axis])).size).toBe(1)
        expect(new Set(corners.map((p) => p.join())).size).toBe(4)
        for (const other of [0, 1, 2].filter((a) => a !== axis))
          expect(Math.max(...corners.map((p) => p[other]!)) - Math.min(...corners.map((p) => p[other]!))).toBe(1)
      }
    })
    expect([...triangles(2)]).toEqual([0, 1, 2, 2, 1, 3, 4, 5, 6, 6, 5, 7])
  })
})

it('reads colours as styles write them', () => {
  expect(rgbOf('#ff8000')).toEqual([255, 128, 0])
  expect(rgbOf(' #0f0 ')).toEqual([0, 255, 0])
  expect(rgbOf('rgb(1, 2, 3)')).toEqual([1, 2, 3])
})
