/**
 * The address holds the whole state of the page: `#/weights?run=iris/2026...&step=120`.
 *
 * What is at its default is left out. Going to another page makes an entry in the browser's history; everything else
 * replaces the entry, at most a few times a second, since browsers refuse more.
 */
import { untrack } from 'svelte'

const WRITE_MS = 300

export interface Place {
  page: string
  params: Map<string, string>
}

/** Reads a hash; `#/weights?a=b` gives page `weights` and parameter a. */
export function parseHash(hash: string, fallback = 'runs'): Place {
  const text = hash.replace(/^#\/?/, '')
  const cut = text.indexOf('?')
  const page = cut < 0 ? text : text.slice(0, cut)
  const params = new Map<string, string>()
  if (cut >= 0) for (const [name, value] of new URLSearchParams(text.slice(cut + 1))) params.set(name, value)
  return { page: page || fallback, params }
}

/** Writes a hash, names in alphabetic order, commas and slashes left readable. */
export function formatHash({ page, params }: { page: string; params: ReadonlyMap<string, string> }): string {
  const parts = [...params]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([n, v]) => `${encodeURIComponent(n)}=${encodeURIComponent(v).replace(/%2F/g, '/').replace(/%2C/g, ',')}`)
  return `#/${page}${parts.length ? `?${parts.join('&')}` : ''}`
}

class Address {
  page = $state('runs')
  /**
   * An object, not a SvelteMap: there, setting one key also wakes whoever read a key that is not set, and the playhead
   * sets one sixty times a second.
   */
  readonly #params = $state<Record<string, string | undefined>>({})
  #timer: ReturnType<typeof setTimeout> | undefined

  /** Reads the browser's address, and again whenever the user goes back or edits it. */
  start(): void {
    this.#read()
    addEventListener('popstate', () => this.#read())
    addEventListener('hashchange', () => this.#read())
    addEventListener('pagehide', () => this.#write())
  }

  /** A parameter, or what holds when it is not written. Reading it in markup or an effect follows its changes. */
  get(name: string, fallback = ''): string {
    const value = this.#params[name]
    // A name such as `constructor` finds something in every object.
    return typeof value === 'string' ? value : fallback
  }

  /** Sets a parameter; null, or its default, takes it out. */
  set(name: string, value: string | null, fallback = ''): void {
    untrack(() => {
      const next = value === null || value === fallback ? undefined : value
      if (this.#params[name] === next) return
      this.#params[name] = next
      this.#timer ??= setTimeout(() => this.#write(), WRITE_MS)
    })
  }

  /** Opens a page, keeping the parameters; a new entry in the history. */
  go(page: string): void {
    if (page === this.page) return
    this.#write()
    this.page = page
    history.pushState(null, '', this.hash())
  }

  hash(page = this.page): string {
    return formatHash({ page, params: this.#set() })
  }

  /** The full link to what is on the screen. */
  link(): string {
    // What stands before the hash is the server's, such as its token: not to be passed on.
    return location.origin === 'null' || location.protocol === 'file:'
      ? new URL(this.hash(), document.baseURI).href
      : location.origin + location.pathname + this.hash()
  }

  /** The parameters that are written. */
  #set(): Map<string, string> {
    return new Map(Object.entries(this.#params).filter((p): p is [string, string] => p[1] !== undefined))
  }

  #read(): void {
    const place = parseHash(location.hash)
    this.page = place.page
    for (const name of this.#set().keys()) if (!place.params.has(name)) this.#params[name] = undefined
    for (const [name, value] of place.params) if (this.#params[name] !== value) this.#params[name] = value
  }

  #write(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const hash = this.hash()
    if (hash !== location.hash) history.replaceState(null, '', hash)
  }
}

export const address = new Address()
