import { describe, expect, it } from 'vitest'
import {
  bulkLimit,
  byteFromValue,
  bytesFromValues,
  difference,
  differenceLimit,
  limitOf,
  rescaleTable,
  shrink,
  transpose,
  valueFromByte,
} from './frames'

describe('bytes of a frame', () => {
  it('are symmetric around 128 and keep 0 for what is not finite', () => {
    expect([-2, -1, 0, 0.5, 1, 2].map((v) => byteFromValue(v, 1))).toEqual([1, 1, 128, 192, 255, 255])
    expect([Number.NaN, Infinity, -Infinity].map((v) => byteFromValue(v, 1))).toEqual([0, 0, 0])
    expect(byteFromValue(0, 0)).toBe(128)
    expect(valueFromByte(255, 0.8)).toBeCloseTo(0.8, 12)
    expect(valueFromByte(0, 1)).toBeNaN()
  })

  it('agree between one value and many', () => {
    const values = Float32Array.from({ length: 513 }, (_, i) => (i - 256) / 200)
    values[7] = Number.NaN
    expect([...bytesFromValues(values, 1.1)]).toEqual([...values].map((v) => byteFromValue(v, 1.1)))
  })

  it('read back within half a step of the scale', () => {
    for (let i = -100; i <= 100; i++) {
      expect(Math.abs(valueFromByte(byteFromValue(i / 100, 1), 1) - i / 100)).toBeLessThanOrEqual(0.5 / 127 + 1e-12)
    }
  })

  it('can be drawn on another limit', () => {
    const table = rescaleTable(0.5, 1)
    expect([table[0], table[128], table[255], table[1]]).toEqual([0, 128, 192, 65])
  })
})

describe('films of differences', () => {
  const film = Float32Array.from([1, 2, 4, 2, 3, 0])
  it('know their one limit', () => {
    expect(limitOf([1, -3, Number.NaN, 2])).toEqual({ limit: 3, nonfinite: 1 })
    expect(differenceLimit(film, 2, 'change')).toEqual({ limit: 3, nonfinite: 0 })
    expect(differenceLimit(film, 2, 'since')).toEqual({ limit: 3, nonfinite: 0 })
    expect([...difference(film, 2, 2, 0)]).toEqual([2, -2])
  })
})

it('finds where the bulk of the values ends', () => {
  const values = Array.from({ length: 1000 }, (_, i) => (i % 2 ? -i : i) / 1000)
  values[3] = 50
  values[4] = Number.NaN
  expect(bulkLimit((i) => values[i]!, 1000)).toBeCloseTo(0.991, 3)
  expect(bulkLimit(() => Number.NaN, 3)).toBe(0)
})

describe('shrinking a frame', () => {
  it('keeps the largest magnitude of each block, whatever its sign', () => {
    const frame = Uint8Array.from([128, 130, 120, 129, 128, 128, 140, 131])
    expect([...shrink(frame, 2, 4, 1, 2)]).toEqual([130, 140])
    expect([...shrink(Uint8Array.from([128, 130, 120, 129]), 1, 4, 1, 1)]).toEqual([120])
  })

  it('never loses a cell that is not finite', () => {
    const frame = new Uint8Array(10_000).fill(255)
    frame[4321] = 0
    expect([...shrink(frame, 100, 100, 7, 9)].filter((b) => b === 0)).toHaveLength(1)
  })

  it('never loses an extreme at any size', () => {
    for (let place = 0; place < 35; place++) {
      const frame = new Uint8Array(35).fill(128)
      frame[place] = 3
      for (const [r, c] of [
        [1, 1],
        [2, 3],
        [4, 6],
        [5, 7],
      ] as const)
        expect([...shrink(frame, 5, 7, r, c)].filter((b) => b === 3)).toHaveLength(1)
    }
  })

  it('turns on its side', () => {
    expect([...transpose(Uint8Array.from([1, 2, 3, 4, 5, 6]), 2, 3)]).toEqual([1, 4, 2, 5, 3, 6])
  })
})
