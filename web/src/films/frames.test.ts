import { describe, expect, it } from 'vitest'
import { byteFromValue } from '../maths/frames'
import { DifferenceFrames, frameAt, RecordedFrames, type Stack } from './frames'

function stack(encoding: 'f4' | 'u1', steps: number[], values: number[][], limit: number): Stack {
  const flat = values.flat()
  return {
    encoding,
    limit,
    nonfinite: flat.filter((v) => !Number.isFinite(v)).length,
    total: steps.length,
    stride: 1,
    steps,
    shape: [values[0]!.length],
    size: values[0]!.length,
    data: encoding === 'f4' ? Float32Array.from(flat) : Uint8Array.from(flat.map((v) => byteFromValue(v, limit))),
  }
}

describe('recorded frames', () => {
  const early = stack(
    'u1',
    [0, 10],
    [
      [-1, 0.5],
      [Number.NaN, 1],
    ],
    1,
  )
  const late = stack(
    'f4',
    [20, 30],
    [
      [2, -0.25],
      [0, 1],
    ],
    2,
  )

  it('come in step order from stacks in any order, on one limit', () => {
    const film = new RecordedFrames([late, early])
    expect([...film.steps]).toEqual([0, 10, 20, 30])
    expect(film).toMatchObject({ limit: 2, nonfinite: 1, exact: false, size: 2, total: 4 })
    expect(film.value(2, 1)).toBe(-0.25)
    expect(film.value(0, 0)).toBe(-1)
    expect(film.value(1, 0)).toBeNaN()
    expect([...film.bytes(0, 2, new Uint8Array(2))]).toEqual([byteFromValue(-1, 2), byteFromValue(0.504, 2)])
    expect([...film.bytes(2, 2, new Uint8Array(2))]).toEqual([255, byteFromValue(-0.25, 2)])
  })

  it('hand bytes out as they lie where the limit is theirs', () => {
    const film = new RecordedFrames([early])
    expect(film.bytes(1, 1, new Uint8Array(2)).buffer).toBe(early.data.buffer)
  })

  it('prefer floats for a step that came twice', () => {
    const film = new RecordedFrames([early, stack('f4', [10], [[0.125, 0.3]], 1)])
    expect([...film.steps]).toEqual([0, 10])
    expect(film.value(1, 0)).toBe(0.125)
  })

  it('are found by step', () => {
    const film = new RecordedFrames([early, late])
    expect([-5, 0, 9, 10, 25, 99].map((s) => frameAt(film, s))).toEqual([0, 0, 0, 1, 2, 3])
    expect(frameAt(new RecordedFrames([]), 3)).toBe(-1)
  })
})

describe('differences', () => {
  const film = new RecordedFrames([
    stack(
      'f4',
      [0, 1, 2],
      [
        [1, 2],
        [4, 2],
        [3, 0.5],
      ],
      4,
    ),
  ])
  it('are from the frame before, or from the start, with one limit', () => {
    const change = new DifferenceFrames(film, 'change')
    expect([0, 1, 2].map((t) => [change.value(t, 0), change.value(t, 1)])).toEqual([
      [0, 0],
      [3, 0],
      [-1, -1.5],
    ])
    expect(change.limit).toBe(3)
    const since = new DifferenceFrames(film, 'since')
    expect([since.value(2, 0), since.value(2, 1)]).toEqual([2, -1.5])
    expect([...since.bytes(2, since.limit, new Uint8Array(2))]).toEqual([byteFromValue(2, 3), byteFromValue(-1.5, 3)])
  })
})
