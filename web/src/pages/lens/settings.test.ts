import { expect, it } from 'vitest'
import type { LensMethod } from '../../wire/types'
import { changed, readSettings, written } from './settings'

const window = { name: 'window', words: '', low: 1, high: 256, whole: true }
const noise = { name: 'noise', words: '', low: 0.001, high: 1, whole: false }
const method = (name: string, options: LensMethod['options']) => ({ name, options }) as LensMethod
const methods = [method('occlusion', [window]), method('smoothgrad', [noise])]

it('reads what it wrote', () => {
  const settings = { smoothgrad: { noise: 0.25 }, occlusion: { window: 8 } }
  expect(written(settings)).toBe('occlusion.window=8,smoothgrad.noise=0.25')
  expect(readSettings(written(settings), methods)).toEqual(settings)
})

it('leaves out what no method has, and what is out of bounds', () => {
  const text = 'occlusion.window=9000,occlusion.other=3,rise.masks=3,smoothgrad.noise=x,,constructor.name=1'
  expect(readSettings(text, methods)).toEqual({})
})

it('goes back to the usual value when the field is emptied', () => {
  const one = changed({}, 'occlusion', window, '7.6')
  expect(one).toEqual({ occlusion: { window: 8 } })
  expect(changed(one, 'occlusion', window, '')).toEqual({})
})
