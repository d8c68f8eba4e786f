/** The live server, at `api/v1/` beside the page, so that a proxy may put it below any path. */
import type { ErrorDocument, EventDocument } from '../wire/types'
import { pathOf } from '../wire/paths'
import { SourceError, type Transport } from './transport'

const RETRY_MS = [500, 1000, 2000, 4000, 8000]

/** A canonical path as an address beside the page. */
function beside(path: string): string {
  return new URL(path.slice(1), document.baseURI).href
}

async function checked(response: Response): Promise<ArrayBuffer> {
  if (response.ok) return response.arrayBuffer()
  const document: ErrorDocument | null = await response.json().catch(() => null)
  throw new SourceError(
    document?.error ?? { code: 'http', message: `${response.status} ${response.statusText}`, hint: '' },
  )
}

async function request(url: string, options?: RequestInit): Promise<Response> {
  try {
    return await fetch(url, options)
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new SourceError({ code: 'connection', message: 'The server does not answer', hint: 'epochal view' })
  }
}

export function liveTransport(): Transport {
  return {
    live: true,
    async get(path, { signal } = {}) {
      return checked(await request(beside(path), { signal }))
    },
    async send(method, path, body) {
      if (body === undefined) return checked(await request(beside(path), { method }))
      const raw = body instanceof Blob
      const headers = { 'Content-Type': raw ? 'application/octet-stream' : 'application/json' }
      return checked(await request(beside(path), { method, headers, body: raw ? body : JSON.stringify(body) }))
    },
    address: (path) => beside(path),
    listen(told, connected) {
      let source: EventSource | null = null
      let timer: ReturnType<typeof setTimeout> | undefined
      let failures = 0
      let closed = false
      const open = () => {
        source = new EventSource(beside(pathOf('events')))
        source.onopen = () => {
          failures = 0
          connected(true)
        }
        const hear = (message: MessageEvent<string>) => told(JSON.parse(message.data) as EventDocument)
        source.addEventListener('run', hear)
        source.onerror = () => {
          // A browser gives up after some answers; opening anew by hand covers every way of losing a server.
          source?.close()
          connected(false)
          if (closed) return
          timer = setTimeout(open, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)])
        }
      }
      open()
      return () => {
        closed = true
        clearTimeout(timer)
        source?.close()
      }
    },
  }
}
