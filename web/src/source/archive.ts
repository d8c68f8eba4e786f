/**
 * The archive inside an exported page: base64(gzip(u32 length + JSON {"files": [...]} + bytes)).
 *
 * A file is {"path", "type", "offset", "length"}; `path` is canonical (wire/paths.ts), `offset` counts from the end
 * of the JSON.
 */

export interface Archive {
  get(path: string): ArrayBuffer | null
  readonly paths: readonly string[]
}

interface Entry {
  path: string
  type: string
  offset: number
  length: number
}

export function readArchive(bytes: ArrayBuffer): Archive {
  const length = new DataView(bytes).getUint32(0, true)
  const { files } = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length))) as { files: Entry[] }
  const entries = new Map(files.map((f) => [f.path, f]))
  return {
    paths: [...entries.keys()],
    get(path) {
      const entry = entries.get(path)
      // A copy starts at 0, so that arrays of numbers in it are aligned.
      return entry ? bytes.slice(4 + length + entry.offset, 4 + length + entry.offset + entry.length) : null
    },
  }
}

/** Unpacks the text of the page's data element. */
export async function unpack(base64: string): Promise<ArrayBuffer> {
  const text = atob(base64.trim())
  const packed = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i)
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'))
  return new Response(stream).arrayBuffer()
}
