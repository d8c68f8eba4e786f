/** Questions to the lens: asked when nothing has changed for a moment, answered bit by bit, and kept. */
import { message } from '../../films/loaded.svelte'
import { source } from '../../source/source'
import type { Look } from '../../wire/lens'
import { follow, type Question } from './follow'
import { Memory } from './memory'
import type { Settings } from './settings'
import type { ErrorBody, LensInput, LensJob, LensResult } from '../../wire/types'

const REST_MS = 220

export interface Asked {
  run: string
  /** The snapshot that is looked at. */
  step: number
  series: string | null
  example: number | null
  photo: string | null
  picture: string | null
  target: number | null
  layer: string | null
  /** A layer whose channels stand where the classes stood, and row and column of one unit. */
  inside: string | null
  place: readonly [number, number] | null
  /** The unit whose strongest examples are shown; null for the one that answers most. */
  unit: number | null
  methods: readonly string[]
  settings: Settings
  /** Methods that take a layer or a class. */
  takes: (method: string, what: 'layer' | 'target') => boolean
  theme: 'light' | 'dark'
}

export interface Found {
  result: LensResult
  look: Look
  job: string
  step: number
  /** Of the network as it was at another step; the one that is wanted is on its way. */
  stale: boolean
}

export interface Given {
  input: LensInput
  pixels: Look | null
  step: number
}

interface Kept {
  result: LensResult
  look: Look
  job: string
}

type Doing = LensJob['doing']

export class Looks {
  given = $state.raw<Given | null>(null)
  found = $state.raw<ReadonlyMap<string, Found>>(new Map())
  failures = $state.raw<ReadonlyMap<string, ErrorBody>>(new Map())
  problem = $state.raw<ErrorBody | null>(null)
  /** A question is on its way. */
  busy = $state(false)
  waiting = $state(0)
  /** What is going on for it: a process starts, it loads the network, or it looks; and how far a long look is. */
  doing = $state<Doing>('')
  share = $state<number | null>(null)
  /** Methods with random weights: their maps, and which of them is being drawn. */
  checks = $state.raw<ReadonlyMap<string, Found>>(new Map())
  checking = $state('')
  /** A film that is being made ready: how many of its steps are there. */
  filming = $state.raw<{ done: number; total: number } | null>(null)
  /** Set when the user stopped it. */
  stopped = $state(false)
  readonly #inputs = new Memory<Given>((one) => sizeOf(one.pixels))
  readonly #kept = new Memory<Kept>((one) => sizeOf(one.look))
  #film = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Goes up with each question, so that an old one's answers are told from those of the new. */
  #turn = 0
  #job: string | null = null
  #last = ''
  #subject = ''

  /** Wants answers; those that are known are shown at once, the others are asked for when this is not called again. */
  want(asked: Asked): void {
    const { target, layer, inside, place, unit } = asked
    const key = JSON.stringify([inputKey(asked), target, layer, inside, place, unit, asked.methods, asked.settings])
    if (key === this.#last) return
    this.#last = key
    this.#abandon()
    this.stopped = false
    this.problem = null
    this.failures = new Map()

    const subject = JSON.stringify([asked.run, asked.series, asked.example, asked.photo, asked.picture])
    const same = subject === this.#subject
    this.#subject = subject
    const input = this.#inputs.get(inputKey(asked)) ?? null
    if (input) this.given = input
    else if (!same) this.given = null

    const shown = new Map<string, Found>()
    const missing: string[] = []
    for (const method of asked.methods) {
      const kept = this.#kept.get(methodKey(asked, method))
      if (kept) shown.set(method, { ...kept, step: asked.step, stale: false })
      else {
        missing.push(method)
        const before = this.found.get(method)
        if (before && same) shown.set(method, { ...before, stale: true })
      }
    }
    this.found = shown
    this.#showChecks(asked)
    if (!missing.length && input) return
    const methods = missing.length ? missing : asked.methods.slice(0, 1)
    if (!methods.length) return
    this.busy = true
    const turn = this.#turn
    this.#timer = setTimeout(() => void this.#ask(asked, [...methods], turn), REST_MS)
  }

  /** Draws the map of a method with random weights, and says how alike the two are. */
  async check(asked: Asked, method: string): Promise<void> {
    const turn = this.#turn
    this.checking = method
    try {
      const end = await follow(
        questionOf(asked, [method], { check: true }),
        () => turn !== this.#turn,
        async (job) => {
          const result = job.results[0]
          if (!result) return
          const look = await source().lensMaps(job.id, result.method)
          this.#kept.keep(checkKey(asked, method), { result, look, job: job.id })
        },
      )
      if (turn !== this.#turn) return
      this.problem = end?.failures[0]?.error ?? end?.error ?? null
      this.#showChecks(asked)
    } catch (error) {
      if (turn === this.#turn) this.problem = told(error)
    } finally {
      if (this.checking === method) this.checking = ''
    }
  }

  /** Looks at each step, one after the other, so that the playhead finds them all; stops when it is asked again. */
  async film(asked: Asked, steps: readonly number[]): Promise<void> {
    const own = ++this.#film
    const gone = () => own !== this.#film
    this.filming = { done: 0, total: steps.length }
    try {
      for (const [i, step] of steps.entries()) {
        const now = { ...asked, step }
        const missing = asked.methods.filter((method) => !this.#kept.has(methodKey(now, method)))
        if (missing.length || !this.#inputs.has(inputKey(now))) {
          const wanted = missing.length ? missing : asked.methods.slice(0, 1)
          const seen = new Set<string>()
          const end = await follow(questionOf(now, wanted), gone, (job) => this.#keep(now, job, seen))
          if (gone()) return
          if (end?.error) throw new Error(end.error.message)
        }
        this.filming = { done: i + 1, total: steps.length }
      }
    } catch (error) {
      if (!gone()) this.problem = told(error)
    }
    if (!gone()) this.filming = null
  }

  /** Stops making a film ready; the steps that are there stay. */
  endFilm(): void {
    this.#film += 1
    this.filming = null
  }

  /** Stops what is going on; what was found stays. */
  stop(): void {
    this.#abandon()
    this.endFilm()
    this.stopped = true
  }

  /** Asks again what was stopped or failed. */
  again(asked: Asked): void {
    this.#last = ''
    this.want(asked)
  }

  /** Nothing is wanted any more. */
  close(): void {
    this.#abandon()
    this.endFilm()
    this.problem = null
    this.#last = ''
  }

  #abandon(): void {
    clearTimeout(this.#timer)
    this.#turn += 1
    this.busy = false
    this.doing = ''
    this.share = null
    if (this.#job)
      void source()
        .stopLooking(this.#job)
        .catch(() => null)
    this.#job = null
  }

  async #ask(asked: Asked, methods: string[], turn: number): Promise<void> {
    const gone = () => turn !== this.#turn
    try {
      const seen = new Set<string>()
      const end = await follow(questionOf(asked, methods), gone, async (job) => {
        this.waiting = job.ahead
        this.doing = job.doing
        this.share = job.share
        this.#job = job.id
        await this.#take(asked, job, seen, gone)
      })
      if (gone()) return
      if (end?.error) this.problem = end.error
    } catch (error) {
      if (gone()) return
      this.problem = told(error)
    }
    this.#job = null
    this.busy = false
    this.doing = ''
    this.share = null
    // What is still from another step will not come.
    this.found = new Map([...this.found].filter(([, one]) => !one.stale))
  }

  /** Takes in what is new of a job, and shows it. */
  async #take(asked: Asked, job: LensJob, seen: Set<string>, gone: () => boolean): Promise<void> {
    const fresh = await this.#keep(asked, job, seen)
    if (gone()) return
    const given = this.#inputs.get(inputKey(asked))
    if (given) this.given = given
    if (fresh.length) {
      const shown = new Map(this.found)
      for (const kept of fresh) shown.set(kept.result.method, { ...kept, step: job.step, stale: false })
      this.found = shown
    }
    if (job.failures.length) {
      this.failures = new Map(job.failures.map((one) => [one.method, one.error]))
      for (const { method } of job.failures) if (this.found.get(method)?.stale) this.#drop(method)
    }
  }

  /** Keeps what is new of a job. */
  async #keep(asked: Asked, job: LensJob, seen: Set<string>): Promise<Kept[]> {
    if (job.input && !seen.has('')) {
      seen.add('')
      const pixels = job.input.width ? await source().lensMaps(job.id, '') : null
      this.#inputs.keep(inputKey(asked), { input: job.input, pixels, step: job.step })
    }
    const fresh = job.results.filter((one) => !one.done || !seen.has(one.method))
    const looks = await Promise.all(fresh.map((one) => source().lensMaps(job.id, one.method)))
    return fresh.map((result, i) => {
      const kept = { result, look: looks[i]!, job: job.id }
      if (result.done) {
        seen.add(result.method)
        this.#kept.keep(methodKey(asked, result.method), kept)
      }
      return kept
    })
  }

  #showChecks(asked: Asked): void {
    const shown = new Map<string, Found>()
    for (const method of asked.methods) {
      const kept = this.#kept.get(checkKey(asked, method))
      if (kept) shown.set(method, { ...kept, step: asked.step, stale: false })
    }
    this.checks = shown
  }

  #drop(method: string): void {
    const shown = new Map(this.found)
    shown.delete(method)
    this.found = shown
  }
}

export function questionOf(asked: Asked, methods: readonly string[], more: { check?: boolean } = {}): Question {
  const { run, step, series, example, photo, picture, target, layer, inside, theme, settings } = asked
  const options = Object.fromEntries(Object.entries(settings).filter(([method]) => methods.includes(method)))
  const top = methods.includes('top_examples')
  const body = { methods: [...methods], step, series, example, photo, picture, target, layer, inside, theme, options }
  return {
    run,
    body: { ...body, place: asked.place ? [...asked.place] : null, channel: top ? asked.unit : null, ...more },
  }
}

const inputKey = (a: Asked) => JSON.stringify([a.run, a.step, a.series, a.example, a.photo, a.picture])
const methodKey = (a: Asked, method: string) => {
  const explains = a.takes(method, 'target')
  return JSON.stringify([
    inputKey(a),
    method,
    explains ? [a.target, a.inside, a.place] : null,
    a.takes(method, 'layer') ? a.layer : null,
    method === 'top_examples' ? a.unit : null,
    a.settings[method] ?? null,
  ])
}
const checkKey = (a: Asked, method: string) => `check ${methodKey(a, method)}`

export function told(error: unknown): ErrorBody {
  const hint = error instanceof Error && 'hint' in error ? String(error.hint) : ''
  return { code: 'lens', message: message(error), hint }
}

const sizeOf = (look: Look | null) => 2_000 + (look?.maps?.byteLength ?? 0) + (look?.pixels?.byteLength ?? 0)
