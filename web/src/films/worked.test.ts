import { expect, test } from 'vitest'
import { RecordedFrames } from './frames'
import { against, channelOf, inComponents, principal, WorkedFrames } from './worked'

function film(frames: number[][], shape: number[]) {
  const data = Float32Array.from(frames.flat())
  const limit = Math.max(...data.map(Math.abs))
  const steps = frames.map((_, i) => i * 10)
  const size = frames[0]!.length
  return new RecordedFrames([
    { encoding: 'f4', limit, nonfinite: 0, total: frames.length, stride: 1, steps, shape, size, data },
  ])
}

test('a frame against another one keeps the scale of the film', () => {
  const found = against(
    film(
      [
        [1, 2],
        [4, 0],
        [3, -5],
      ],
      [2],
    ),
    1,
  )
  expect([found.value(0, 0), found.value(2, 1), found.value(1, 0)]).toEqual([-3, -5, 0])
  expect(found.limit).toBe(5)
  expect(Array.from(found.bytes(2, 5, new Uint8Array(2)))).toEqual([128 - 25, 1])
})

test('one channel of kernels', () => {
  const of = film([Array.from({ length: 24 }, (_, i) => i)], [2, 3, 2, 2])
  const found = channelOf(of, 1)
  expect(found.shape).toEqual([2, 1, 2, 2])
  expect(Array.from({ length: 8 }, (_, i) => found.value(0, i))).toEqual([4, 5, 6, 7, 16, 17, 18, 19])
})

test('principal components are those of a second calculation', () => {
  // Points along (3, 4, 0) and, less, along (-4, 3, 0): the components are these two directions, then none.
  const rows = [
    [30, 40, 0],
    [-30, -40, 0],
    [-8, 6, 0],
    [8, -6, 0],
  ].map((row) => Float32Array.from(row))
  const [a, b, c] = principal(rows, 3)
  ;[0.6, 0.8, 0].forEach((v, i) => expect(a![i]).toBeCloseTo(v))
  ;[0.8, -0.6, 0].forEach((v, i) => expect(b![i]).toBeCloseTo(v))
  expect(Array.from(c!)).toEqual([0, 0, 0])
})

test('kernels in components keep their length where three inputs are all there are', () => {
  const values = Array.from({ length: 2 * 3 * 4 }, (_, i) => Math.sin(i * i))
  const found = inComponents(film([values], [2, 3, 2, 2]))
  expect(found.shape).toEqual([2, 3, 2, 2])
  for (let u = 0; u < 2; u++) {
    for (let i = 0; i < 4; i++) {
      const length = (value: (e: number) => number) => Math.hypot(...[0, 1, 2].map((k) => value((u * 3 + k) * 4 + i)))
      expect(length((e) => found.value(0, e))).toBeCloseTo(
        length((e) => values[e]!),
        4,
      )
    }
  }
  expect(found.limit).toBeGreaterThan(0)
})

test('lines through time write each frame once, and films too large to keep still tell the truth', () => {
  const of = film([[1], [2], [3]], [1])
  let written = 0
  const made = (size: number) => new WorkedFrames(of, [size], (t, out) => ((written += 1), out.fill(t + 1)), 3)
  const small = made(4)
  for (let element = 0; element < 4; element++) for (let t = 0; t < 3; t++) expect(small.value(t, element)).toBe(t + 1)
  expect(written).toBe(3)
  const large = made(3_000_000)
  for (const t of [0, 1, 2, 0]) expect(large.value(t, 2_999_999)).toBe(t + 1)
  expect(written).toBe(7)
})
