import { dictionary, float64, int32, int64, tableFromArrays, tableToIPC, utf8 } from '@uwdata/flechette'
import { describe, expect, test } from 'vitest'
import { decodeScalars, joinCurves } from './columns'

function stream(names: string[], steps: number[], v: number[]): Uint8Array {
  const table = tableFromArrays(
    { name: names, step: steps.map(BigInt), t: steps.map((s) => s / 10), v },
    { types: { name: dictionary(utf8(), int32()), step: int64(), t: float64(), v: float64() } },
  )
  return tableToIPC(table, { format: 'stream' })!
}

describe('scalars', () => {
  test('one curve a name, numbers as they were', () => {
    const curves = decodeScalars(stream(['a', 'a', 'b', 'b'], [0, 1, 0, 5], [0.1, Number.NaN, Infinity, -2]))
    expect([...curves.keys()]).toEqual(['a', 'b'])
    expect([...curves.get('a')!.v]).toEqual([0.1, Number.NaN])
    expect([...curves.get('b')!.steps]).toEqual([0, 5])
    expect([...curves.get('b')!.v]).toEqual([Infinity, -2])
    expect([...curves.get('b')!.t]).toEqual([0, 0.5])
  })
  test('a series in several stretches is put together', () => {
    const curves = decodeScalars(stream(['a', 'b', 'a', 'a'], [0, 0, 1, 2], [1, 2, 3, 4]))
    expect([...curves.get('a')!.v]).toEqual([1, 3, 4])
  })
  test('no rows are no curves', () => expect(decodeScalars(stream([], [], [])).size).toBe(0))
})

describe('growing', () => {
  const curve = (steps: number[], v: number[]) => ({
    name: 'a',
    steps: Float64Array.from(steps),
    t: Float64Array.from(steps),
    v: Float64Array.from(v),
  })
  test('new points are appended', () => {
    expect([...joinCurves(curve([0, 1], [1, 2]), curve([2, 3], [3, 4])).v]).toEqual([1, 2, 3, 4])
  })
  test('where they overlap the newer ones hold', () => {
    const joined = joinCurves(curve([0, 1, 2], [1, 2, 3]), curve([1, 5], [20, 50]))
    expect([...joined.steps]).toEqual([0, 1, 5])
    expect([...joined.v]).toEqual([1, 20, 50])
  })
  test('nothing new changes nothing', () => {
    const old = curve([0], [1])
    expect(joinCurves(old, curve([], []))).toBe(old)
  })
})
