/** Class images of networks that are no chain: asked of the server for the step at the playhead, and kept. */
import { message } from '../../films/loaded.svelte'
import { RecordedFrames } from '../../films/frames'
import { followed } from '../../source/job'
import { source } from '../../source/source'
import type { Look } from '../../wire/lens'
import type { LensJob, LensResult } from '../../wire/types'

const REST_MS = 220
const KEPT = 64

export interface Found {
  readonly step: number
  readonly caption: string
  readonly notes: readonly string[]
  /** How many examples there were of each class. */
  readonly counts: readonly number[]
  /** False for the pictures over some of the examples. */
  readonly done: boolean
  readonly values: Float32Array
  readonly limit: number
}

/** What the lens found, with the greatest magnitude among it. Exported for its test. */
export function foundOf(step: number, result: LensResult, look: Look): Found {
  const counts = Array.from({ length: look.total }, (_, c) => result.numbers[String(c)] ?? 0)
  // Of a class without examples nothing is known: nothing is drawn of it.
  const size = (look.maps?.length ?? 0) / (look.total || 1)
  const values = (look.maps ?? new Float32Array(0)).map((v, i) => (counts[Math.floor(i / size)] ? v : 0))
  const limit = values.reduce((m, v) => (Number.isFinite(v) ? Math.max(m, Math.abs(v)) : m), 0)
  return { step, caption: result.caption, notes: result.notes, counts, done: result.done, values, limit }
}

/** A film of what was found at one step or several, in the order of time; of two of one step the last. */
export function framesOf(found: readonly Found[], shape: readonly number[], limit: number): RecordedFrames {
  const size = shape.reduce((n, s) => n * s, 1)
  const kept = [...new Map(found.map((one) => [one.step, one])).values()].sort((a, b) => a.step - b.step)
  const data = new Float32Array(size * kept.length)
  kept.forEach(({ values }, t) => data.set(values, t * size))
  const nonfinite = data.reduce((n, v) => n + (Number.isFinite(v) ? 0 : 1), 0)
  const steps = kept.map(({ step }) => step)
  return new RecordedFrames([
    { encoding: 'f4', limit, nonfinite, total: steps.length, stride: 1, steps, shape, size, data },
  ])
}

export class ClassGradients {
  found = $state.raw<Found | null>(null)
  busy = $state(false)
  /** How many questions come before, what is being done, and how much of it is done, from 0 to 1. */
  waiting = $state(0)
  doing = $state<LensJob['doing']>('')
  share = $state<number | null>(null)
  stopped = $state(false)
  problem = $state<{ message: string; hint: string } | null>(null)
  /** The greatest magnitude so far: colours mean the same at all steps. */
  limit = $state(0)
  readonly #run: string
  readonly #kept = new Map<number, Found>()
  #step = -1
  /** Goes up with each question: answers to an old one are nobody's. */
  #turn = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(run: string) {
    this.#run = run
  }

  /** Wants the pictures at a snapshot: at once where they are known, else when nothing else is wanted for a moment. */
  want(step: number): void {
    if (step === this.#step) return
    this.#step = step
    this.close()
    this.stopped = false
    this.problem = null
    const known = this.#kept.get(step)
    if (known) {
      this.found = known
      return
    }
    this.busy = true
    const turn = this.#turn
    this.#timer = setTimeout(() => void this.#ask(step, turn), REST_MS)
  }

  /** Stops what is going on; what was found stays. */
  stop(): void {
    this.close()
    this.stopped = true
  }

  again(): void {
    const step = this.#step
    this.#step = -1
    this.want(step)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#turn += 1
    this.busy = false
    this.share = null
  }

  async #ask(step: number, turn: number): Promise<void> {
    const gone = () => turn !== this.#turn
    try {
      const job = await followed(
        () => source().classImages(this.#run, step),
        gone,
        (one) => this.#hear(one, step, gone),
      )
      if (gone() || !job) return
      if (job.error) this.problem = job.error
    } catch (error) {
      if (gone()) return
      this.problem = {
        message: message(error),
        hint: error instanceof Error && 'hint' in error ? String(error.hint) : '',
      }
    }
    this.busy = false
    this.share = null
  }

  async #hear(job: LensJob, step: number, gone: () => boolean): Promise<void> {
    this.waiting = job.ahead
    this.doing = job.doing
    this.share = job.share
    const result = job.results[0]
    if (!result) return
    const look = await source().lensMaps(job.id, result.method)
    if (gone()) return
    this.found = foundOf(job.step, result, look)
    this.limit = Math.max(this.limit, result.done ? this.found.limit : 0)
    if (!result.done) return
    this.#kept.set(step, this.found)
    for (const old of this.#kept.keys()) if (this.#kept.size > KEPT) this.#kept.delete(old)
  }
}
