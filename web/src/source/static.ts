/** A run inside the page: what `epochal export run.html` made. Nothing can be changed and nothing new comes. */
import { readArchive, unpack } from './archive'
import { SourceError, type Transport } from './transport'

const FIXED = { code: 'static', message: 'This page is a copy: nothing can be changed in it', hint: 'epochal view' }

/** Reads the archive from the text of the data element. */
export async function staticTransport(base64: string): Promise<Transport> {
  const archive = readArchive(await unpack(base64))
  return {
    live: false,
    get(path) {
      const bytes = archive.get(path)
      if (bytes) return Promise.resolve(bytes)
      const message = `This page holds no ${path}`
      return Promise.reject(new SourceError({ code: 'not_found', message, hint: 'epochal view' }))
    },
    send: () => Promise.reject(new SourceError(FIXED)),
    listen: () => () => {},
    address: () => null,
  }
}
