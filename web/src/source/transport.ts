/** How bytes come to the Studio. There are two: a live server, or an archive inside the page. */
import type { ErrorBody, EventDocument } from '../wire/types'

export interface Transport {
  /** True when a server answers. */
  readonly live: boolean
  /**
   * The body of a canonical path (wire/paths.ts). Rejects with `SourceError`.
   */
  get(path: string, options?: { signal?: AbortSignal }): Promise<ArrayBuffer>
  /** Changes or asks something; `body` goes as JSON, a Blob as it is. Rejects with `SourceError` where there is no server. */
  send(method: 'PATCH' | 'DELETE' | 'POST', path: string, body?: unknown): Promise<ArrayBuffer>
  /** Tells of changes until the returned function is called; `connected` is told when the server goes and comes. */
  listen(told: (event: EventDocument) => void, connected: (yes: boolean) => void): () => void
  /** Where a browser can download a path, or null where there is no server. */
  address(path: string): string | null
}

/** What went wrong with a request, as the wire says it. */
export class SourceError extends Error {
  readonly code: string
  readonly hint: string

  constructor({ code, message, hint }: ErrorBody) {
    super(message)
    this.code = code
    this.hint = hint
  }
}
