import { describe, expect, test } from 'vitest'
import { readArchive, unpack } from './archive'
import { Source } from './source'
import { staticTransport } from './static'

/** Packs files as export/report.py does. */
async function pack(files: Record<string, Uint8Array>): Promise<string> {
  let offset = 0
  const listed = Object.entries(files).map(([path, bytes]) => {
    const entry = { path, type: 'x', offset, length: bytes.length }
    offset += bytes.length
    return entry
  })
  const head = new TextEncoder().encode(JSON.stringify({ files: listed }))
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, head.length, true)
  const plain = new Blob([length, head, ...Object.values(files)] as BlobPart[])
  const zipped = await new Response(plain.stream().pipeThrough(new CompressionStream('gzip'))).arrayBuffer()
  return btoa(String.fromCharCode(...new Uint8Array(zipped)))
}

const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

describe('an archive', () => {
  test('gives back each file, aligned for arrays of numbers', async () => {
    const numbers = new Uint8Array(new Float64Array([1.5, Number.NaN]).buffer)
    const archive = readArchive(await unpack(await pack({ '/a': new Uint8Array([1, 2, 3]), '/b': numbers })))
    expect(archive.paths).toEqual(['/a', '/b'])
    expect([...new Uint8Array(archive.get('/a')!)]).toEqual([1, 2, 3])
    expect([...new Float64Array(archive.get('/b')!)]).toEqual([1.5, Number.NaN])
    expect(archive.get('/c')).toBeNull()
  })

  test('is a source that says what it does not hold, and lets nothing be changed', async () => {
    const table = { runs: [], notices: [] }
    const source = new Source(await staticTransport(await pack({ '/api/v1/runs': text(table) })))
    expect(source.live).toBe(false)
    expect(await source.runs()).toEqual(table)
    await expect(source.run('p/r')).rejects.toMatchObject({ code: 'not_found' })
    await expect(source.remove('p/r')).rejects.toMatchObject({ code: 'static' })
  })
})
