/** The run that is looked at, the runs that are shown beside it, and their colours. */
import type { RunDetail, RunRow } from '../wire/types'
import { address } from './address.svelte'
import { catalogue } from './catalogue.svelte'
import { assignSlots, slotColour } from './colours'
import { theme } from './theme.svelte'

/** How many of the newest runs are shown until the user picks. */
const SHOWN_AT_FIRST = 6

/** More than this at once nobody can tell apart, and every one of them has curves to fetch. */
export const SHOWN_MOST = 100

class Selection {
  #slots = new Map<string, number>()

  /** Runs that are not archived, newest first; archived ones too when the user asks for them. */
  readonly listed = $derived(
    address.get('archived') === '1' ? catalogue.rows : catalogue.rows.filter((r) => !r.archived),
  )

  /** The run that single-run pages show: the one named in the address, else the newest. */
  readonly current: RunRow | undefined = $derived.by(() => {
    const named = address.get('run')
    return (named ? catalogue.byId.get(named) : undefined) ?? this.listed[0]
  })

  /** Everything small about the current run; undefined until it has come. */
  readonly detail: RunDetail | undefined = $derived(catalogue.detail(this.current?.id))

  /** The runs that multi-run pages show, the current one among them, newest first. */
  readonly shown: readonly RunRow[] = $derived.by(() => {
    const picked = address.get('show')
    const current = this.current
    if (picked) {
      const ids = new Set(picked.split(','))
      return catalogue.rows.filter((r) => ids.has(r.id) || r.id === current?.id).slice(0, SHOWN_MOST)
    }
    const first = this.listed.filter((r) => r.project === current?.project).slice(0, SHOWN_AT_FIRST)
    return !current || first.includes(current) ? first : [...first, current]
  })

  readonly shownIds: ReadonlySet<string> = $derived(new Set(this.shown.map((r) => r.id)))

  readonly #colours: ReadonlyMap<string, number> = $derived.by(() => {
    this.#slots = assignSlots(this.#slots, catalogue.rows)
    return this.#slots
  })

  /** The colour of a run in the theme that is drawn. */
  colour(id: string): string {
    return slotColour(this.#colours.get(id) ?? 0, theme.name)
  }

  /** Looks at a run. */
  choose(id: string): void {
    address.set('run', id)
  }

  /** Shows runs beside the others, or hides them; false when not all of them could be shown. */
  show(ids: readonly string[], yes: boolean): boolean {
    const room = yes ? SHOWN_MOST - this.shownIds.size : ids.length
    const fresh = yes ? ids.filter((id) => !this.shownIds.has(id)) : ids
    this.#show(fresh.slice(0, Math.max(0, room)), yes)
    return fresh.length <= room
  }

  #show(ids: readonly string[], yes: boolean): void {
    const next = new Set(this.shownIds)
    for (const id of ids) {
      if (yes) next.add(id)
      else next.delete(id)
    }
    if (this.current && next.size === 0) next.add(this.current.id)
    address.set('show', [...next].join(','))
    // Hiding the run that is looked at passes the place on, otherwise it could not be hidden.
    if (this.current && !next.has(this.current.id)) this.choose([...next][0]!)
  }

  /** The next (1) or previous (-1) run of the list. */
  move(by: 1 | -1): void {
    const at = this.listed.findIndex((r) => r.id === this.current?.id)
    const next = this.listed[Math.min(this.listed.length - 1, Math.max(0, at + by))]
    if (next) this.choose(next.id)
  }
}

export const selection = new Selection()
