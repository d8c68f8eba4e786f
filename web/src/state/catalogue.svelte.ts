/** All runs and what is known of those that were opened, kept up to date by the live stream. */
import { untrack } from 'svelte'
import { SvelteMap } from 'svelte/reactivity'
import { source } from '../source/source'
import type { EventDocument, NoticeDocument, RunDetail, RunRow, StudioDocument } from '../wire/types'

/** Runs that changed are asked for again at most this often. */
const REFRESH_MS = 200
/** More changed runs than this at once: the whole table is asked for instead. */
const MANY = 8

class Catalogue {
  /** Newest first. */
  rows = $state.raw<readonly RunRow[]>([])
  notices = $state.raw<readonly NoticeDocument[]>([])
  /** What can be done here; null until it is known. */
  studio = $state.raw<StudioDocument | null>(null)
  loaded = $state(false)
  connected = $state(true)
  /** Why the runs could not be read, if so. */
  problem = $state<string | null>(null)
  readonly byId = $derived(new Map(this.rows.map((r) => [r.id, r])))

  readonly #details = new SvelteMap<string, RunDetail>()
  readonly #asked = new Map<string, Promise<void>>()
  readonly #changed = new Set<string>()
  #timer: ReturnType<typeof setTimeout> | undefined
  #refreshed = 0
  #lost = false

  async start(): Promise<void> {
    source().listen(
      (event) => this.#hear(event),
      (yes) => {
        this.connected = yes
        if (yes && this.#lost) void this.reload()
        this.#lost = !yes
      },
    )
    source()
      .studio()
      .then(
        (studio) => (this.studio = studio),
        // The runs come from the same place: their failure is told.
        () => {},
      )
    await this.reload()
  }

  async reload(): Promise<void> {
    try {
      const table = await source().runs()
      this.rows = table.runs
      this.notices = table.notices
      this.problem = null
      for (const id of this.#details.keys()) {
        const row = this.byId.get(id)
        if (!row) this.#details.delete(id)
        else if (row.version !== this.#details.get(id)?.row.version) void this.#ask(id)
      }
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error)
    }
    this.loaded = true
  }

  /** What is known of a run; undefined until it has come. Asking starts to load it and keeps it fresh from then on. */
  detail(id: string | null | undefined): RunDetail | undefined {
    if (!id) return undefined
    const detail = this.#details.get(id)
    if (!detail && !this.#asked.has(id)) untrack(() => void this.#ask(id))
    return detail
  }

  /** Puts a changed row in its place. */
  put(row: RunRow): void {
    const at = this.rows.findIndex((r) => r.id === row.id)
    if (at >= 0) this.rows = this.rows.with(at, row)
    else this.rows = [row, ...this.rows].sort((a, b) => b.created - a.created)
    const detail = this.#details.get(row.id)
    if (detail) this.#details.set(row.id, { ...detail, row })
  }

  /** Takes a run out of the lists. */
  drop(id: string): void {
    this.rows = this.rows.filter((r) => r.id !== id)
    this.#details.delete(id)
    this.#asked.delete(id)
  }

  #ask(id: string): Promise<void> {
    const asked = source()
      .run(id)
      .then((detail) => {
        this.#details.set(id, detail)
        this.put(detail.row)
      })
      .catch((error: unknown) => {
        // Gone while it was looked at: the next table says so. Anything else is told by the connection notice.
        if (this.byId.has(id)) this.problem = error instanceof Error ? error.message : String(error)
      })
    this.#asked.set(id, asked)
    return asked
  }

  #hear(event: EventDocument): void {
    if (event.kind === 'gone') {
      this.drop(event.id)
      return
    }
    this.#changed.add(event.id)
    // At once when it was quiet, else when the pause is over: what is logged is seen within a moment.
    this.#timer ??= setTimeout(() => void this.#refresh(), Math.max(0, this.#refreshed + REFRESH_MS - Date.now()))
  }

  async #refresh(): Promise<void> {
    const ids = [...this.#changed]
    this.#changed.clear()
    this.#refreshed = Date.now()
    if (ids.length > MANY) await this.reload()
    else await Promise.all(ids.map((id) => this.#ask(id)))
    this.#timer = undefined
    if (this.#changed.size) this.#timer = setTimeout(() => void this.#refresh(), REFRESH_MS)
  }
}

export const catalogue = new Catalogue()
