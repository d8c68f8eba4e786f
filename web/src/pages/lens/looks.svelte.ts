/** Questions to the lens: asked when nothing has changed for a moment, answered bit by bit, and kept. */
import { message } from '../../films/loaded.svelte'
import { source } from '../../source/source'
import type { Look } from '../../wire/lens'
import type { Settings } from './settings'
import type { ErrorBody, LensInput, LensJob, LensResult } from '../../wire/types'

const REST_MS = 220
const POLL_MS = [60, 100, 150, 250]
const KEPT = 240

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

export class Looks {
  given = $state.raw<Given | null>(null)
  found = $state.raw<ReadonlyMap<string, Found>>(new Map())
  failures = $state.raw<ReadonlyMap<string, ErrorBody>>(new Map())
  problem = $state.raw<ErrorBody | null>(null)
  /** A question is on its way. */
  busy = $state(false)
  waiting = $state(0)
  /** Set when the user stopped it. */
  stopped = $state(false)
  readonly #inputs = new Map<string, Given>()
  readonly #kept = new Map<string, Kept>()
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Goes up with each question, so that an old one's answers are told from those of the new. */
  #turn = 0
  #job: string | null = null
  #last = ''
  #subject = ''

  /** Wants answers; those that are known are shown at once, the others are asked for when this is not called again. */
  want(asked: Asked): void {
    const key = JSON.stringify([inputKey(asked), asked.target, asked.layer, asked.methods, asked.settings])
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
    if (!missing.length && input) return
    const methods = missing.length ? missing : asked.methods.slice(0, 1)
    if (!methods.length) return
    this.busy = true
    const turn = this.#turn
    this.#timer = setTimeout(() => void this.#ask(asked, [...methods], turn), REST_MS)
  }

  /** Stops what is going on; what was found stays. */
  stop(): void {
    this.#abandon()
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
    this.#last = ''
  }

  #abandon(): void {
    clearTimeout(this.#timer)
    this.#turn += 1
    this.busy = false
    if (this.#job)
      void source()
        .stopLooking(this.#job)
        .catch(() => null)
    this.#job = null
  }

  async #ask(asked: Asked, methods: string[], turn: number): Promise<void> {
    const gone = () => turn !== this.#turn
    try {
      const { run, step, series, example, photo, picture, target, layer, theme, settings } = asked
      const options = Object.fromEntries(Object.entries(settings).filter(([method]) => methods.includes(method)))
      const question = { methods, step, series, example, photo, picture, target, layer, theme, options }
      let job: LensJob = await source().look(run, question)
      if (gone())
        return void source()
          .stopLooking(job.id)
          .catch(() => null)
      this.#job = job.id
      const seen = new Set<string>()
      let version = -1
      for (let tick = 0; ; tick += 1) {
        if (job.version !== version) {
          version = job.version
          await this.#take(asked, job, seen, gone)
          if (gone()) return
        }
        this.waiting = job.ahead
        if (job.state === 'done' || job.state === 'failed' || job.state === 'cancelled') break
        await new Promise((done) => setTimeout(done, POLL_MS[Math.min(tick, POLL_MS.length - 1)]))
        if (gone()) return
        job = await source().looked(job.id)
        if (gone()) return
      }
      this.#job = null
      if (job.error) this.problem = job.error
    } catch (error) {
      if (gone()) return
      this.#job = null
      const hint = error instanceof Error && 'hint' in error ? String(error.hint) : ''
      this.problem = { code: 'lens', message: message(error), hint }
    }
    this.busy = false
    // What is still from another step will not come.
    this.found = new Map([...this.found].filter(([, one]) => !one.stale))
  }

  /** Takes in what is new of a job. */
  async #take(asked: Asked, job: LensJob, seen: Set<string>, gone: () => boolean): Promise<void> {
    if (job.input && !seen.has('')) {
      seen.add('')
      const pixels = job.input.width ? await source().lensMaps(job.id, '') : null
      if (gone()) return
      this.given = { input: job.input, pixels, step: job.step }
      keep(this.#inputs, inputKey(asked), this.given)
    }
    const fresh = job.results.filter((one) => !one.done || !seen.has(one.method))
    const looks = await Promise.all(fresh.map((one) => source().lensMaps(job.id, one.method)))
    if (gone()) return
    if (fresh.length) {
      const shown = new Map(this.found)
      fresh.forEach((result, i) => {
        const kept = { result, look: looks[i]!, job: job.id }
        if (result.done) {
          seen.add(result.method)
          keep(this.#kept, methodKey(asked, result.method), kept)
        }
        shown.set(result.method, { ...kept, step: job.step, stale: false })
      })
      this.found = shown
    }
    if (job.failures.length) {
      this.failures = new Map(job.failures.map((one) => [one.method, one.error]))
      for (const { method } of job.failures) if (this.found.get(method)?.stale) this.#drop(method)
    }
  }

  #drop(method: string): void {
    const shown = new Map(this.found)
    shown.delete(method)
    this.found = shown
  }
}

const inputKey = (a: Asked) => JSON.stringify([a.run, a.step, a.series, a.example, a.photo, a.picture])
const methodKey = (a: Asked, method: string) =>
  JSON.stringify([
    inputKey(a),
    method,
    a.takes(method, 'target') ? a.target : null,
    a.takes(method, 'layer') ? a.layer : null,
    a.settings[method] ?? null,
  ])

function keep<T>(into: Map<string, T>, key: string, value: T): void {
  into.delete(key)
  into.set(key, value)
  for (const old of into.keys()) {
    if (into.size <= KEPT) break
    into.delete(old)
  }
}
