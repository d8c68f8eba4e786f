/** What is known of the lab looked at: its trials, its effects and the curves of all trials. */
import { message } from '../../films/loaded.svelte'
import { source } from '../../source/source'
import { labs } from '../../state/labs.svelte'
import type { TrialCurve } from '../../wire/labs'
import type { EffectsDocument, ImportanceDocument, LabDocument } from '../../wire/types'
import { stretches, type Curves } from './trials'

/** Trials whose curves come in one answer: the first are drawn while the others are on their way. */
const AT_ONCE = 400
const POINTS = 300

export class LabData {
  readonly id: string
  document = $state.raw<LabDocument | null>(null)
  problem = $state<string | null>(null)
  effects = $state.raw<EffectsDocument | null>(null)
  effectsProblem = $state<string | null>(null)
  importance = $state.raw<ImportanceDocument | null>(null)
  importanceProblem = $state<string | null>(null)
  asking = $state(false)
  curves = $state.raw<Curves>(new Map())
  /** How many trials' curves were asked for already, of all. */
  curvesCome = $state(0)
  #version = ''
  #metric: string | null = null
  #names: string[] = []
  #fresh: string[] = []
  #work: Promise<void> = Promise.resolve()

  constructor(id: string) {
    this.id = id
  }

  /** Brings everything up to a version of the lab, one thing after the other: what is seen first comes first. */
  update(version: string, metric: string | null): void {
    if (version === this.#version && metric === this.#metric) return
    const fresh = version !== this.#version
    this.#version = version
    this.#metric = metric
    this.#work = this.#work.then(async () => {
      if (fresh) await this.#trials()
      await this.#effects(metric)
    })
  }

  /** Asks for the trials once more, whatever the version. */
  again(): void {
    this.#work = this.#work.then(() => this.#trials())
  }

  /** Asks for curves of these names too. */
  want(names: readonly string[]): void {
    const wanted = names.filter((name) => !this.#names.includes(name))
    if (!wanted.length) return
    this.#names.push(...wanted)
    this.#fresh.push(...wanted)
    const all = this.document?.trials.length ?? 0
    this.#work = this.#work.then(async () => {
      // What several charts asked for meanwhile comes together.
      const fresh = this.#fresh.splice(0)
      if (!fresh.length) return
      this.curvesCome = 0
      for (let first = 0; first < all; first += AT_ONCE) {
        await this.#fetch(fresh, first, AT_ONCE)
        this.curvesCome = Math.min(all, first + AT_ONCE)
      }
    })
  }

  /** Waits for all that was asked for so far, also meanwhile. */
  async settled(): Promise<void> {
    for (let work; work !== this.#work;) {
      work = this.#work
      await work
    }
  }

  /** Curves of trials that train now, and of those that just ended. */
  grow(trials: readonly number[]): void {
    if (!this.#names.length) return
    this.#work = this.#work.then(async () => {
      for (const [first, count] of stretches(trials, AT_ONCE)) await this.#fetch(this.#names, first, count)
    })
  }

  async askOptuna(): Promise<void> {
    this.asking = true
    try {
      this.importance = await source().labImportance(this.id, this.#metric)
      this.importanceProblem = null
    } catch (error) {
      this.importanceProblem = message(error)
    }
    this.asking = false
  }

  async #trials(): Promise<void> {
    try {
      const before = this.document
      this.document = await labs.document(this.id)
      this.problem = null
      if (!before) return
      const known = new Map(before.trials.map((t) => [t.trial, `${t.status} ${t.attempt}`]))
      this.grow(this.document.trials.flatMap((t) => (known.get(t.trial) === `${t.status} ${t.attempt}` ? [] : t.trial)))
    } catch (error) {
      this.problem = message(error)
    }
  }

  async #effects(metric: string | null): Promise<void> {
    try {
      this.effects = await source().labEffects(this.id, metric)
      this.effectsProblem = null
    } catch (error) {
      this.effects = null
      this.effectsProblem = message(error)
    }
    this.importance = null
  }

  async #fetch(name: readonly string[], first: number, count: number): Promise<void> {
    let found: TrialCurve[]
    try {
      found = await source().labCurves(this.id, { name, first, count, points: POINTS })
    } catch {
      return // the next change of the lab asks again; what the trials came to stands in the table
    }
    const next = new Map(this.curves)
    for (const curve of found) next.set(curve.trial, new Map(next.get(curve.trial)).set(curve.name, curve))
    this.curves = next
  }
}
