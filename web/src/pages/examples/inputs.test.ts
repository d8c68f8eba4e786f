import { expect, test } from 'vitest'
import { askedOf, givenOf, inputsOf, pixelsOf, valuesOf } from './inputs'

test('pictures are drawn as they are stored', () => {
  const grey = { ...inputsOf({ shape: [2, 1, 2, 1], dtype: 'U8', values: Uint8Array.of(1, 2, 3, 4) }, true), texts: [] }
  expect(grey.kind).toBe('picture')
  expect([...pixelsOf(grey, 1)!.data]).toEqual([3, 3, 3, 255, 4, 4, 4, 255])
  const colour = inputsOf({ shape: [1, 1, 1, 4], dtype: 'U8', values: Uint8Array.of(9, 8, 7, 6) }, true)
  expect([...pixelsOf({ ...colour, texts: [] }, 0)!.data]).toEqual([9, 8, 7, 6])
})

test('numbers are a row, a grid, or a block of slices, on one scale for all', () => {
  const row = inputsOf({ shape: [2, 3], dtype: 'F32', values: Float32Array.of(0, 1, 2, 3, NaN, 5) }, false)
  expect([row.kind, row.low, row.high]).toEqual(['row', 0, 5])
  expect([...valuesOf({ ...row, texts: [] }, 1)]).toEqual([3, NaN, 5])
  expect(pixelsOf({ ...row, texts: [] }, 1)).toBeNull()
  const grid = inputsOf({ shape: [2, 1, 2], dtype: 'F32', values: Float32Array.of(0, 1, 2, 4) }, false)
  expect([...pixelsOf({ ...grid, texts: [] }, 0)!.data]).toEqual([0, 0, 0, 255, 64, 64, 64, 255])
  const block = { ...inputsOf({ shape: [1, 2, 2, 2], dtype: 'F32', values: Float32Array.from([0, 1, 2, 3, 4, 5, 6, 255]) }, false), texts: [] } // prettier-ignore
  expect(block.kind).toBe('block')
  const pixels = pixelsOf(block, 0)!
  // The middle slices are the second ones: [4, 5; 6, 255] from above, [2, 3; 6, 255] and [1, 3; 5, 255] from the sides.
  expect([pixels.width, pixels.height]).toEqual([8, 2])
  const at = (r: number, c: number) => (pixels.data[(r * 8 + c) * 4 + 3] ? pixels.data[(r * 8 + c) * 4] : null)
  expect([0, 1, 2, 3, 4, 5, 6, 7].map((c) => at(0, c))).toEqual([4, 5, null, 2, 3, null, 1, 3])
  expect([0, 1, 2, 3, 4, 5, 6, 7].map((c) => at(1, c))).toEqual([6, 255, null, 6, 255, null, 5, 255])
  expect(inputsOf({ shape: [3], dtype: 'I64', values: Float64Array.of(1, 1, 1) }, false)).toMatchObject({
    kind: 'row',
    shape: [1],
    count: 3,
  })
})

test('the numbers that the network was given: on their own scale, in its order of axes, or not known', () => {
  const set = { shown: false, range: [-1, 1], prepared: null }
  const of = (...all: Parameters<typeof askedOf>) => askedOf(...all)?.values ?? null
  const grey = { ...inputsOf({ shape: [1, 1, 2, 1], dtype: 'U8', values: Uint8Array.of(0, 255) }, true), texts: [] }
  expect(of(grey, 0, set, [1, 1, 2])).toEqual([-1, 1])
  expect(of(grey, 0, set, [2])).toEqual([-1, 1])
  expect(of(grey, 0, set, [3])).toBeNull()
  expect(of(grey, 0, { ...set, shown: true }, [2])).toBeNull()
  const colour = { ...inputsOf({ shape: [2, 1, 2, 3], dtype: 'U8', values: Uint8Array.from([9, 9, 9, 9, 9, 9, 0, 1, 2, 3, 4, 5]) }, true), texts: [] } // prettier-ignore
  expect(of(colour, 1, { ...set, range: null }, [3, 1, 2])).toEqual([0, 3, 1, 4, 2, 5])
  expect(of(colour, 1, { ...set, range: null }, [1, 2, 3])).toEqual([0, 1, 2, 3, 4, 5])
  expect([...givenOf(colour, { ...set, range: null })!.slice(6)]).toEqual([0, 3, 1, 4, 2, 5])
  const row = { ...inputsOf({ shape: [2, 2], dtype: 'F32', values: Float32Array.of(1, 2, 3, NaN) }, false), texts: [] }
  expect(of(row, 0, set, [2])).toEqual([1, 2])
  expect(of(row, 1, set, [2])).toBeNull()
})

test('measured rows are changed as they were measured, where it is known what the network is given', () => {
  const row = { ...inputsOf({ shape: [2, 2], dtype: 'F32', values: Float32Array.of(1, 2, 3, 4) }, false), texts: [] }
  const prepared = { scale: [2, 10], offset: [-1, 0] }
  const set = { shown: true, range: null, prepared }
  expect(askedOf(row, 1, set, [2])).toEqual({ values: [3, 4], prepared })
  expect([...givenOf(row, set)!]).toEqual([1, 20, 5, 40])
  expect(askedOf(row, 1, { ...set, prepared: null }, [2])).toBeNull()
  expect(givenOf(row, { ...set, prepared: null })).toBeNull()
  expect(askedOf(row, 1, { ...set, shown: false, prepared: null }, [2])).toEqual({ values: [3, 4], prepared: null })
})
