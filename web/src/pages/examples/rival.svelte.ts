/** What a run's answers are held against (A | B): another run at the same step, or the same run at another one. */
import { confusion, classScores, type Answers as Said } from '../../maths/scores'
import { address } from '../../state/address.svelte'
import { catalogue } from '../../state/catalogue.svelte'
import { selection } from '../../state/selection.svelte'
import type { Outline } from '../../wire/predictions'
import { Answers, placeOf, type Place } from './answers.svelte'
import { sameExamples } from './beside'
import { placeAt } from './order'
import { exampleWords as w } from './words'

/** A step of the run itself is written `@120` in the address. */
const STEP = /^@(-?\d+)$/

export interface Ours {
  run: string
  series: string
  outline: Outline
  here: Place
}

export class Rival {
  readonly #ours: () => Ours | null

  /** Runs that can be chosen. */
  readonly runs = $derived.by(() => selection.shown.filter((row) => row.id !== this.#ours()?.run))
  /** The step of this run that was chosen, null where none was. */
  readonly step = $derived.by((): number | null => {
    const asked = STEP.exec(address.get('beside'))
    return asked ? Number(asked[1]) : null
  })
  readonly row = $derived.by(() => this.runs.find((row) => row.id === address.get('beside')))
  /** What the choice is, as the address writes it; empty for nothing. */
  readonly value = $derived(this.step !== null ? `@${this.step}` : (this.row?.id ?? ''))
  readonly #detail = $derived.by(() => catalogue.detail(this.row?.id))
  readonly #id = $derived(this.row?.id ?? '')
  readonly #answers = $derived(this.#id ? new Answers(this.#id) : null)
  readonly #there = $derived.by(() => {
    const ours = this.#ours()
    if (!ours) return null
    if (this.step === null) return placeOf(this.#answers?.outline ?? null, ours.here.step)
    const { mates, number } = ours.here
    const rank = placeAt(
      mates.map((t) => ours.outline.steps[t]!),
      this.step,
    )
    const place = mates[rank]!
    return { place, step: ours.outline.steps[place]!, number, set: ours.here.set, mates, rank }
  })
  /** Whether it was asked about other examples, so that nothing can be held against it. */
  readonly unlike = $derived.by(() => {
    const [ours, there] = [this.#ours(), this.#there]
    return !!ours && !!there && !sameExamples(ours.here.set, there.set)
  })
  /** What it says of the examples, null as long as that is not known. */
  readonly said = $derived.by((): Said | null => {
    const there = this.#there
    const outline = this.step === null ? this.#answers?.outline : this.#ours()?.outline
    return there && outline && !this.unlike ? outline.predicted[there.place]! : null
  })
  readonly matrix = $derived.by(() => {
    const set = this.#ours()?.here.set
    return set?.truth && this.said ? confusion(set.truth, this.said, set.classes) : null
  })
  /** Share of right answers, NaN where that is not known. */
  readonly right = $derived.by(() => {
    const classes = this.#ours()?.here.set.classes
    return this.matrix && classes ? classScores(this.matrix, classes).accuracy : NaN
  })
  /** What it is called: a run with its step, or the step alone. */
  readonly name = $derived.by(() => {
    const step = w.step((this.#there?.step ?? 0).toLocaleString('en'))
    return this.row ? `${this.row.name} · ${step}` : step
  })
  /** Python's number of the step. */
  readonly at = $derived.by(() => this.#there?.step ?? 0)
  readonly run = $derived.by(() => this.row?.id ?? this.#ours()?.run ?? '')

  constructor(ours: () => Ours | null) {
    this.#ours = ours
    $effect(() => {
      const series = this.#ours()?.series
      const detail = this.#detail
      const same = detail?.media.find((one) => one.series === series && one.kinds.includes('predictions'))
      if (detail && same) this.#answers?.load(detail.row, same)
    })
  }
}
