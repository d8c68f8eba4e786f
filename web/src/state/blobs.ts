/** Files of logged values as addresses that an element can show, live or out of an exported page. */
import { source } from '../source/source'

/** So many addresses made from bytes are kept; those not asked for longest are given back. */
const KEPT = 400
const made = new Map<string, Promise<string>>()

const TYPES: Record<string, string> = {
  bmp: 'image/bmp',
  gif: 'image/gif',
  jpg: 'image/jpeg',
  png: 'image/png',
  svg: 'image/svg+xml',
  webp: 'image/webp',
  wav: 'audio/wav',
  mp3: 'audio/mpeg',
  ogg: 'audio/ogg',
  flac: 'audio/flac',
  m4a: 'audio/mp4',
  mp4: 'video/mp4',
  webm: 'video/webm',
  mov: 'video/quicktime',
}

/** The media type that a file may be shown as; of others only their bytes are looked at. */
export const shownType = (name: string): string =>
  TYPES[name.slice(name.lastIndexOf('.') + 1)] ?? 'application/octet-stream'

/** An address of the file, at once where a server has it. */
export function blobUrl(run: string, name: string): string | Promise<string> {
  const address = source().blobAddress(run, name)
  if (address) return address
  const key = `${run} ${name}`
  const known = made.get(key)
  if (known) {
    made.delete(key)
    made.set(key, known)
    return known
  }
  const url = source()
    .blob(run, name)
    .then((bytes) => URL.createObjectURL(new Blob([bytes], { type: shownType(name) })))
  made.set(key, url)
  url.catch(() => made.delete(key))
  for (const [old, address] of made) {
    if (made.size <= KEPT) break
    made.delete(old)
    void address.then((one) => URL.revokeObjectURL(one))
  }
  return url
}

/** The text of a file. */
export async function blobText(run: string, name: string): Promise<string> {
  return new TextDecoder().decode(await source().blob(run, name))
}
