/** The labs below the root; on the Lab page they are asked for before anything else is. */
import { source } from '../source/source'
import type { LabDocument, LabRow } from '../wire/types'
import { address } from './address.svelte'

/** The lab that the Lab page shows: the one of the address, or the newest. */
export const chosenLab = (list: readonly LabRow[] | null): LabRow | undefined =>
  list?.find((one) => one.id === address.get('lab')) ?? list?.[0]

export class Labs {
  list = $state.raw<readonly LabRow[] | null>(null)
  problem = $state<string | null>(null)
  #loading: Promise<void> | null = null
  #started = false
  /** The lab that was asked for before the page was there to ask. */
  #ahead: { id: string; document: Promise<LabDocument> } | null = null

  load(): Promise<void> {
    this.#loading ??= this.#load().finally(() => (this.#loading = null))
    return this.#loading
  }

  /** Brings the list, and the trials of the lab that will be shown, while the page itself is on its way. Never fails. */
  async start(): Promise<void> {
    if (this.#started) return
    this.#started = true
    await this.load()
    await this.#ahead?.document.catch(() => {})
  }

  /** A lab with its trials: the one that was brought ahead, the first time. */
  document(id: string): Promise<LabDocument> {
    const ahead = this.#ahead
    this.#ahead = null
    return ahead?.id === id ? ahead.document : source().lab(id)
  }

  async #load(): Promise<void> {
    try {
      const list = source().live ? (await source().labs()).labs : []
      const id = this.list === null && this.#started ? chosenLab(list)?.id : undefined
      if (id) this.#ahead = { id, document: source().lab(id) }
      this.list = list
      this.problem = null
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error)
    }
  }
}

export const labs = new Labs()
