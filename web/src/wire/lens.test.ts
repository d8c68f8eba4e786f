import { expect, it } from 'vitest'
import { decodeLook, mapOf, pictureOf } from './lens'

function container(header: object, bytes: Uint8Array): ArrayBuffer {
  let text = JSON.stringify(header)
  while ((8 + text.length) % 8) text += ' '
  const out = new Uint8Array(8 + text.length + Math.ceil(bytes.length / 8) * 8)
  out.set(new TextEncoder().encode('EPF1'))
  new DataView(out.buffer).setUint32(4, text.length, true)
  out.set(new TextEncoder().encode(text), 8)
  out.set(bytes, 8 + text.length)
  return out.buffer
}

it('reads maps channel by channel', () => {
  const values = Float32Array.of(1, 2, 3, 4, 5, 6)
  const header = { arrays: [{ name: 'maps', dtype: 'f4', shape: [2, 1, 3] }], method: 'feature_maps', channels: [7, 3] }
  const look = decodeLook(container({ ...header, total: 9 }, new Uint8Array(values.buffer)))
  expect([look.count, look.height, look.width, look.channels, look.total]).toEqual([2, 1, 3, [7, 3], 9])
  expect([...mapOf(look, 1)]).toEqual([4, 5, 6])
})

it('reads pictures', () => {
  const arrays = [{ name: 'pixels', dtype: 'u1', shape: [2, 1, 1, 3] }]
  const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6)
  const look = decodeLook(container({ arrays, method: 'filters', channels: [1, 0], total: 2 }, bytes))
  expect([...pictureOf(look, 1)]).toEqual([4, 5, 6])
  expect(look.maps).toBeNull()
})

it('refuses what holds neither', () => {
  expect(() => decodeLook(container({ arrays: [], method: '', channels: [], total: 0 }, new Uint8Array(0)))).toThrow()
})
