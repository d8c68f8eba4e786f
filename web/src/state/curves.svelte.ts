/**
 * Curves of runs at the resolution of a screen, kept while they are looked at and grown while a run trains.
 *
 * `curves.get(id, name)` is a signal: undefined until the curve has come. What is asked for in one go is fetched in one
 * request a run; of a run that trains only the series that grew are asked for, from where they ended.
 */
import { untrack } from 'svelte'
import { SvelteMap } from 'svelte/reactivity'
import { indexAtOrBefore } from '../maths/search'
import { source } from '../source/source'
import { joinCurves, type Curve } from '../wire/columns'
import type { RunRow } from '../wire/types'
import { catalogue } from './catalogue.svelte'
import { trained } from './machine'

/** About two points a pixel of the widest chart. */
export const POINTS = 2000
/** A curve that grew beyond this is fetched anew, reduced. */
const TOO_MANY = 3 * POINTS

/** Series in one request. */
const NAMES_AT_ONCE = 100

const key = (id: string, name: string) => `${id}\n${name}`

interface Wanted {
  names: Set<string>
  /** The run's version when its curves were last fetched. */
  version: string | null
  /** Names came that were not asked for yet; they may come while others are being fetched. */
  more: boolean
  busy: boolean
}

class Curves {
  readonly #curves = new SvelteMap<string, Curve>()
  readonly #failures = new SvelteMap<string, string>()
  /** Series wanted of each run. */
  readonly #wanted = new Map<string, Wanted>()
  #timer: ReturnType<typeof setTimeout> | undefined

  /** Watches for runs that changed; called once. */
  start(): void {
    $effect.root(() => {
      $effect(() => {
        void catalogue.rows
        untrack(() => this.#later(0))
      })
    })
  }

  get(id: string, name: string): Curve | undefined {
    const curve = this.#curves.get(key(id, name))
    if (!curve) untrack(() => this.#want(id, name))
    return curve
  }

  /** Why a run's curves could not be read, if so. */
  failure(id: string): string | undefined {
    return this.#failures.get(id)
  }

  #want(id: string, name: string): void {
    let wanted = this.#wanted.get(id)
    if (!wanted) this.#wanted.set(id, (wanted = { names: new Set(), version: null, more: true, busy: false }))
    if (wanted.names.has(name)) return
    wanted.names.add(name)
    wanted.more = true
    this.#later(0)
  }

  #later(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      for (const [id, wanted] of this.#wanted) {
        const row = catalogue.byId.get(id)
        if (!row) this.#wanted.delete(id)
        else if ((wanted.more || row.version !== wanted.version) && !wanted.busy) void this.#fetch(row, wanted)
      }
    }, ms)
  }

  async #fetch(row: RunRow, wanted: Wanted): Promise<void> {
    wanted.busy = true
    wanted.more = false
    const { fresh, grown, start } = this.#missing(row, wanted.names)
    try {
      const ended = row.status === 'running' ? null : row.version
      const [whole, more] = await Promise.all([
        fresh.length ? this.#ask(row.id, fresh, null, ended) : null,
        grown.length ? this.#ask(row.id, grown, start, null) : null,
      ])
      for (const [name, curve] of whole ?? []) this.#curves.set(key(row.id, name), curve)
      for (const [name, curve] of more ?? []) {
        const old = this.#curves.get(key(row.id, name))
        this.#curves.set(key(row.id, name), old ? joinCurves(old, curve) : curve)
      }
      this.#failures.delete(row.id)
      wanted.version = row.version
    } catch (error) {
      this.#failures.set(row.id, error instanceof Error ? error.message : String(error))
      // Not again for this version: a broken file would be asked for for ever.
      wanted.version = row.version
    } finally {
      wanted.busy = false
      if (wanted.more || catalogue.byId.get(row.id)?.version !== wanted.version) this.#later(50)
    }
  }

  /** In requests of some hundred series, so that an address stays of a usual length. */
  async #ask(id: string, names: readonly string[], start: number | null, version: string | null) {
    const parts: Promise<Map<string, Curve>>[] = []
    for (let i = 0; i < names.length; i += NAMES_AT_ONCE) {
      const name = names.slice(i, i + NAMES_AT_ONCE)
      parts.push(source().scalars(id, { name, points: POINTS, start }, { version }))
    }
    return new Map((await Promise.all(parts)).flatMap((part) => [...part]))
  }

  #missing(row: RunRow, names: ReadonlySet<string>): { fresh: string[]; grown: string[]; start: number } {
    const fresh: string[] = []
    const grown: string[] = []
    let start = Infinity
    for (const name of names) {
      const metric = row.metrics[name]
      const curve = this.#curves.get(key(row.id, name))
      const last = curve?.steps.at(-1)
      if (!metric) continue
      // A run that was continued from an earlier step may have fewer steps than before.
      if (!curve || last === undefined || last > metric.last_step || curve.steps.length > TOO_MANY) fresh.push(name)
      else if (metric.last_step > last || row.status !== 'running') {
        grown.push(name)
        start = Math.min(start, last + 1)
      }
    }
    return { fresh, grown, start }
  }
}

export const curves = new Curves()

/** The value of a curve at a step: the last one at or before it. */
export function valueAt(curve: Curve | undefined, step: number): number | null {
  const at = curve ? indexAtOrBefore(curve.steps, step) : -1
  return at >= 0 ? curve!.v[at]! : null
}

/** The series that says how a run goes: loss on data held back, else loss, else what there is. */
export function mainSeries(row: RunRow | undefined): string | null {
  if (!row) return null
  const names = trained(row.metrics).flatMap(([name]) => (name === 'epoch' ? [] : [name]))
  for (const name of ['val_loss', 'loss']) if (names.includes(name)) return name
  const ends = (tail: RegExp) => names.find((n) => tail.test(n))
  return ends(/(val|valid|test|eval).*loss$/i) ?? ends(/loss$/i) ?? row.spark?.name ?? names[0] ?? null
}
