/** One comparison: asked when nothing has changed for a moment, shown as it grows, and kept. */
import { message } from '../../films/loaded.svelte'
import { source } from '../../source/source'
import type { Compared } from '../../wire/compare'
import type { CompareJob, CompareQuestion, CompareResult, ErrorBody } from '../../wire/types'

export type Asked = Partial<CompareQuestion> & Pick<CompareQuestion, 'what'>

export interface Found {
  result: CompareResult
  arrays: Compared
  job: string
  step: number
  /** Of the network as it was at another step; the one that is wanted is on its way. */
  stale: boolean
}

const REST_MS = 240
const POLL_MS = [60, 100, 150, 250]
const KEPT = 48
const kept = new Map<string, Found>()

export class Comparing {
  found = $state.raw<Found | null>(null)
  problem = $state.raw<ErrorBody | null>(null)
  busy = $state(false)
  stopped = $state(false)
  waiting = $state(0)
  doing = $state<CompareJob['doing']>('')
  share = $state<number | null>(null)
  #timer: ReturnType<typeof setTimeout> | undefined
  #turn = 0
  #key = ''
  #about = ''

  /** What takes long is asked for a little later, so that the rest does not wait for it. */
  constructor(readonly rest = 0) {}

  /** Wants an answer of a run, or none; one that is known is shown at once. */
  want(run: string, asked: Asked | null): void {
    const key = asked ? JSON.stringify([run, asked]) : ''
    if (key === this.#key) return
    this.#key = key
    this.#leave()
    this.problem = null
    this.stopped = false
    const about = asked ? JSON.stringify([run, { ...asked, step: null }]) : ''
    const same = about === this.#about
    this.#about = about
    const known = kept.get(key)
    this.found = known ?? (same && this.found ? { ...this.found, stale: true } : null)
    if (!asked || known) return
    this.#begin(run, asked, REST_MS + this.rest)
  }

  /** Asks again what was stopped or failed. */
  again(run: string, asked: Asked): void {
    this.#leave()
    this.problem = null
    this.stopped = false
    this.#begin(run, asked, 0)
  }

  stop(): void {
    this.#leave()
    this.stopped = true
    if (this.found?.stale) this.found = null
  }

  close(): void {
    this.#leave()
    this.#key = ''
  }

  #leave(): void {
    clearTimeout(this.#timer)
    this.#turn += 1
    this.busy = false
    this.waiting = 0
    this.doing = ''
    this.share = null
  }

  #begin(run: string, asked: Asked, rest: number): void {
    this.busy = true
    const turn = this.#turn
    const key = JSON.stringify([run, asked])
    this.#timer = setTimeout(() => void this.#follow(run, asked, key, turn), rest)
  }

  async #follow(run: string, asked: Asked, key: string, turn: number): Promise<void> {
    const gone = () => turn !== this.#turn
    try {
      let job = await source().compare(run, asked)
      let version = -1
      for (let tick = 0; ; tick += 1) {
        if (gone()) {
          await source()
            .stopLooking(job.id)
            .catch(() => null)
          return
        }
        this.waiting = job.state === 'waiting' ? job.ahead : 0
        this.doing = job.doing
        this.share = job.share
        const result = job.results[0]
        if (result && job.version !== version) {
          version = job.version
          const arrays = await source().comparedArrays(job.id, result.method)
          if (gone()) continue
          this.found = { result, arrays, job: job.id, step: job.step, stale: false }
          if (result.done) keep(key, this.found)
        }
        if (job.state === 'done' || job.state === 'failed' || job.state === 'cancelled') {
          this.problem = job.error
          break
        }
        await new Promise((done) => setTimeout(done, POLL_MS[Math.min(tick, POLL_MS.length - 1)]))
        if (!gone()) job = await source().compared(job.id)
      }
    } catch (error) {
      if (gone()) return
      const hint = (error as { hint?: string }).hint ?? ''
      this.problem = { code: 'failed', message: message(error), hint }
    }
    this.busy = false
    if (this.found?.stale) this.found = null
  }
}

function keep(key: string, found: Found): void {
  kept.delete(key)
  kept.set(key, found)
  for (const old of kept.keys()) {
    if (kept.size <= KEPT) break
    kept.delete(old)
  }
}
