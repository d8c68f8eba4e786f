import { expect, test } from 'vitest'
import type { Look } from '../../wire/lens'
import type { LensResult } from '../../wire/types'
import { foundOf, framesOf } from './gradients.svelte'

const result = { caption: 'mean', notes: [], numbers: { '0': 3, '1': 0 }, done: true } as unknown as LensResult
const look: Omit<Look, 'maps'> = {
  ...({} as Look),
  count: 2,
  height: 1,
  width: 2,
  pixels: null,
  channels: [],
  total: 2,
}

test('a class without examples has no picture, and none takes part in the scale', () => {
  const found = foundOf(40, result, { ...look, maps: Float32Array.of(0.5, -2, NaN, NaN) })
  expect(found).toMatchObject({ step: 40, counts: [3, 0], limit: 2, done: true })
  expect([...found.values]).toEqual([0.5, -2, 0, 0])
  const frames = framesOf([found], [2, 1, 2], 4)
  expect([frames.limit, frames.nonfinite, frames.size, [...frames.steps]]).toEqual([4, 0, 4, [40]])
  expect(frames.value(0, 1)).toBe(-2)
})

test('two steps are a film in the order of time, whichever was asked for first', () => {
  const late = foundOf(40, result, { ...look, maps: Float32Array.of(1, 2, 0, 0) })
  const early = foundOf(8, result, { ...look, maps: Float32Array.of(-1, 5, 0, 0) })
  const frames = framesOf([late, early], [2, 1, 2], 5)
  expect([...frames.steps]).toEqual([8, 40])
  expect([frames.value(0, 1), frames.value(1, 1)]).toEqual([5, 2])
  expect([...framesOf([late, late], [2, 1, 2], 5).steps]).toEqual([40])
})
