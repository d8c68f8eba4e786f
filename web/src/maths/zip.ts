/** Files packed into one ZIP archive (APPNOTE 6.3.10 of PKWARE): deflated where that makes them smaller. Pure. */

export interface Packed {
  name: string
  data: Uint8Array<ArrayBuffer> | string
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1
  return c
})

/** The checksum of ISO 3309 that ZIP and PNG use. */
export function crc32(bytes: Uint8Array): number {
  let c = 0xffffffff
  for (const byte of bytes) c = TABLE[(c ^ byte) & 255]! ^ (c >>> 8)
  return (c ^ 0xffffffff) >>> 0
}

async function deflated(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate-raw'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

/** Names are UTF-8, and that is said; dates are the local time, as the format has it. */
const UTF8 = 0x0800
const VERSION = 20

const two = (v: number) => [v & 255, (v >>> 8) & 255]
const four = (v: number) => [...two(v), ...two(v >>> 16)]

/** All files in one archive, in their order. Names must differ; together they must stay below 4 GB. */
export async function zip(files: readonly Packed[], at = new Date()): Promise<Uint8Array<ArrayBuffer>> {
  const time = (at.getHours() << 11) | (at.getMinutes() << 5) | (at.getSeconds() >> 1)
  const day = ((Math.max(1980, at.getFullYear()) - 1980) << 9) | ((at.getMonth() + 1) << 5) | at.getDate()
  const parts: Uint8Array[] = []
  const index: Uint8Array[] = []
  let offset = 0
  for (const { name, data } of files) {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data
    const small = await deflated(bytes)
    const [method, body] = small.length < bytes.length ? [8, small] : [0, bytes]
    const label = new TextEncoder().encode(name)
    const facts = [
      ...two(VERSION),
      ...two(UTF8),
      ...two(method),
      ...two(time),
      ...two(day),
      ...four(crc32(bytes)),
      ...four(body.length),
      ...four(bytes.length),
      ...two(label.length),
      ...two(0),
    ]
    const head = Uint8Array.from([...four(0x04034b50), ...facts])
    parts.push(head, label, body)
    // No comment, one disk, no attributes.
    index.push(Uint8Array.from([...four(0x02014b50), ...two(VERSION), ...facts, ...Array<number>(10).fill(0), ...four(offset)]), label) // prettier-ignore
    offset += head.length + label.length + body.length
  }
  const size = index.reduce((sum, part) => sum + part.length, 0)
  const end = [...four(0x06054b50), ...four(0), ...two(files.length), ...two(files.length), ...four(size), ...four(offset), ...two(0)] // prettier-ignore
  return joined([...parts, ...index, Uint8Array.from(end)])
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
