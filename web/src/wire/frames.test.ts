import { describe, expect, test } from 'vitest'
import { decodeContainer, decodeFrames, decodeHistograms, decodeStatistics } from './frames'

type Given = [name: string, dtype: string, shape: number[], data: ArrayBufferView]

/** Writes a container as wire/frames.py does. */
function container(arrays: Given[], facts: Record<string, unknown> = {}): ArrayBuffer {
  const listed = arrays.map(([name, dtype, shape]) => ({ name, dtype, shape }))
  let head = JSON.stringify({ arrays: listed, ...facts })
  while ((8 + head.length) % 8) head += ' '
  const pad = (n: number) => Math.ceil(n / 8) * 8
  const size = 8 + head.length + arrays.reduce((n, a) => n + pad(a[3].byteLength), 0)
  const out = new Uint8Array(size)
  out.set(new TextEncoder().encode('EPF1'))
  new DataView(out.buffer).setUint32(4, head.length, true)
  out.set(new TextEncoder().encode(head), 8)
  let at = 8 + head.length
  for (const [, , , data] of arrays) {
    out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at)
    at += pad(data.byteLength)
  }
  return out.buffer
}

describe('EPF1', () => {
  test('frames keep their numbers, shapes and facts', () => {
    const frames = decodeFrames(
      container(
        [
          ['steps', 'i8', [2], BigInt64Array.from([0n, 9_007_199_254_740_991n])],
          ['frames', 'f4', [2, 3, 1], Float32Array.from([1, 2, 3, 4, Number.NaN, 6])],
        ],
        { series: 'param/w', mode: 'value', encoding: 'f4', limit: 6, lo: 1, hi: 6, nonfinite: 1, total: 2, stride: 1 },
      ),
    )
    expect([...frames.steps]).toEqual([0, 9_007_199_254_740_991])
    expect(frames.shape).toEqual([3, 1])
    expect(frames.size).toBe(3)
    expect([...frames.data]).toEqual([1, 2, 3, 4, Number.NaN, 6])
    expect([frames.limit, frames.nonfinite]).toEqual([6, 1])
  })

  test('bytes of odd length leave the next array aligned', () => {
    const { arrays } = decodeContainer(
      container([
        ['a', 'u1', [3], Uint8Array.from([1, 2, 3])],
        ['b', 'f8', [1], Float64Array.from([0.1])],
        ['c', 'f8', [0, 4], new Float64Array(0)],
      ]),
    )
    expect([...arrays.a!.data]).toEqual([1, 2, 3])
    expect(arrays.b!.data[0]).toBe(0.1)
    expect(arrays.c!.data).toHaveLength(0)
  })

  test('histograms', () => {
    const h = decodeHistograms(
      container(
        [
          ['steps', 'i8', [1], BigInt64Array.from([5n])],
          ['counts', 'u4', [1, 64], new Uint32Array(64).fill(2)],
          ['lo', 'f8', [1], Float64Array.from([-1])],
          ['hi', 'f8', [1], Float64Array.from([1])],
          ['statistics', 'f8', [1, 2], Float64Array.from([0.5, 0.1])],
        ],
        { columns: ['mean', 'std'] },
      ),
    )
    expect([h.bins, h.counts[63], h.lo[0], h.hi[0], h.columns]).toEqual([64, 2, -1, 1, ['mean', 'std']])
  })

  test('one statistic of several tensors', () => {
    const all = decodeStatistics(
      container(
        [
          ['starts', 'u4', [3], Uint32Array.from([0, 2, 3])],
          ['steps', 'i8', [3], BigInt64Array.from([5n, 6n, 5n])],
          ['values', 'f8', [3], Float64Array.from([0.5, Number.NaN, 0.25])],
        ],
        { series: ['grad/a', 'grad/b'] },
      ),
    )
    expect([...all.keys()]).toEqual(['grad/a', 'grad/b'])
    expect(all.get('grad/a')).toEqual({
      steps: Float64Array.from([5, 6]),
      values: Float64Array.from([0.5, Number.NaN]),
    })
    expect([...all.get('grad/b')!.values]).toEqual([0.25])
  })

  test.each([
    ['nothing', new ArrayBuffer(0)],
    ['something else', new TextEncoder().encode('{"error": 1}').buffer as ArrayBuffer],
    ['a cut header', container([['a', 'u1', [1], Uint8Array.from([1])]]).slice(0, 20)],
    ['a cut array', container([['a', 'f8', [4], new Float64Array(4)]]).slice(0, -8)],
  ])('%s is refused', (_, bytes) => expect(() => decodeContainer(bytes)).toThrow())
})
