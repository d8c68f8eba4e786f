import { describe, expect, test } from 'vitest'
import { crc32, zip } from './zip'

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

/** The files of an archive by its index, as any reader finds them. */
async function read(bytes: Uint8Array<ArrayBuffer>): Promise<Record<string, Uint8Array>> {
  const view = new DataView(bytes.buffer)
  const end = bytes.length - 22
  expect(view.getUint32(end, true)).toBe(0x06054b50)
  const found: Record<string, Uint8Array> = {}
  let at = view.getUint32(end + 16, true)
  for (let k = 0; k < view.getUint16(end + 10, true); k += 1) {
    expect(view.getUint32(at, true)).toBe(0x02014b50)
    const [method, sum, packed, size, name, where] = [
      view.getUint16(at + 10, true),
      view.getUint32(at + 16, true),
      view.getUint32(at + 20, true),
      view.getUint32(at + 24, true),
      view.getUint16(at + 28, true),
      view.getUint32(at + 42, true),
    ]
    const from = where + 30 + view.getUint16(where + 26, true) + view.getUint16(where + 28, true)
    let body = bytes.slice(from, from + packed)
    if (method === 8) {
      const stream = new Blob([body]).stream().pipeThrough(new DecompressionStream('deflate-raw'))
      body = new Uint8Array(await new Response(stream).arrayBuffer())
    }
    expect(body.length).toBe(size)
    expect(crc32(body)).toBe(sum)
    found[text(bytes.slice(at + 46, at + 46 + name))] = body
    at += 46 + name
  }
  expect(at).toBe(end)
  return found
}

describe('an archive', () => {
  test('holds what was put in, small where it can be', async () => {
    const noise = Uint8Array.from({ length: 5000 }, (_, k) => Math.imul(k, 2654435761) >>> 13)
    const rows = 'a,b\n'.repeat(1000)
    const bytes = await zip([
      { name: 'zähler.csv', data: rows },
      { name: 'noise.bin', data: noise },
      { name: 'empty.txt', data: '' },
    ])
    expect(bytes.length).toBeLessThan(rows.length + noise.length)
    const found = await read(bytes)
    expect(Object.keys(found)).toEqual(['zähler.csv', 'noise.bin', 'empty.txt'])
    expect(text(found['zähler.csv']!)).toBe(rows)
    expect(found['noise.bin']).toEqual(noise)
    expect(found['empty.txt']).toHaveLength(0)
  })
  test('of nothing is one too', async () => expect(await read(await zip([]))).toEqual({}))
  test('has the checksum of the standard', () => {
    expect(crc32(new TextEncoder().encode('The quick brown fox jumps over the lazy dog'))).toBe(0x414fa339)
  })
})
