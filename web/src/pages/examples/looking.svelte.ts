/** What the Examples page looks at: answers at the playhead, the choice of examples, and the figures of all of them. */
import { message } from '../../films/loaded.svelte'
import { calibration, classScores, confusion, curvesOf, NONE } from '../../maths/scores'
import { address } from '../../state/address.svelte'
import { playhead } from '../../state/playhead.svelte'
import { selection } from '../../state/selection.svelte'
import { Answers, INPUTS_BYTES, placeOf } from './answers.svelte'
import { namesOf } from './bars'
import { loadInputs, type Inputs } from './inputs'
import {
  BESIDE,
  BY,
  counted,
  flipsUntil,
  ordered,
  ORDERS,
  placeAt,
  WHICH,
  type By,
  type Moment,
  type Order,
  type Which,
} from './order'
import { Rival } from './rival.svelte'

/** So many classes have a curve. */
const DRAWN = 10

export class Looking {
  readonly detail = $derived(selection.detail)
  /** All series of predictions of the run, and the one that is looked at. */
  readonly listed = $derived(this.detail?.media.filter((one) => one.kinds.includes('predictions')) ?? [])
  readonly series = $derived(this.listed.find((one) => one.series === address.get('predictions')) ?? this.listed[0])
  readonly #key = $derived(this.detail && this.series ? `${this.detail.row.id} ${this.series.series}` : '')
  /** The same one while the run goes on, so that what was loaded stays. */
  readonly answers = $derived(this.#key ? new Answers(this.#key.slice(0, this.#key.indexOf(' '))) : null)
  readonly outline = $derived.by(() => this.answers?.outline ?? null)
  readonly here = $derived(placeOf(this.outline, playhead.step))
  readonly set = $derived(this.here?.set ?? null)
  readonly names = $derived(this.set ? namesOf(this.set) : String)
  readonly predicted = $derived(this.here && this.outline ? this.outline.predicted[this.here.place]! : null)
  readonly chances = $derived.by(() => {
    void this.answers?.arrived
    return this.here ? (this.answers?.chances(this.here.place) ?? null) : null
  })
  /** Whether the confidences of this step cannot be had. */
  readonly lacking = $derived.by(() => {
    void this.answers?.arrived
    return !!this.here && !!this.answers?.lacks(this.here.place)
  })

  /** What is beside (A | B). */
  readonly rival = new Rival(() => {
    const { detail, series, outline, here } = this
    return detail && series && outline && here ? { run: detail.row.id, series: series.series, outline, here } : null
  })

  // What is shown, in the address.
  readonly which = $derived.by((): Which => {
    const asked = address.get('which', 'all') as Which
    if (!WHICH.includes(asked) || (BESIDE.has(asked) && !this.rival.said)) return 'all'
    return this.set?.truth || asked === 'all' || asked === 'flipped' || asked === 'differs' ? asked : 'all'
  })
  readonly order = $derived.by((): Order => {
    const asked = address.get('rank', 'number') as Order
    return ORDERS.includes(asked) ? asked : 'number'
  })
  readonly truth = $derived(this.set?.truth ? this.#classAt('truth') : null)
  readonly said = $derived.by(() => this.#classAt('said'))
  readonly by = $derived.by((): By => {
    const asked = address.get('by', 'a') as By
    return this.rival.said && BY.includes(asked) ? asked : 'a'
  })
  readonly since = $derived.by(() => {
    if (!this.here || !this.outline) return 0
    const asked = Number(address.get('since') || NaN)
    const steps = this.here.mates.map((t) => this.outline!.steps[t]!)
    return Number.isFinite(asked) ? placeAt(steps, asked) : 0
  })
  readonly chosen = $derived.by(() => {
    const i = Number(address.get('example') || NaN)
    return this.set && Number.isInteger(i) && i >= 0 && i < this.set.examples ? i : null
  })

  readonly moment = $derived.by((): Moment | null => {
    const { here, outline, predicted } = this
    if (!here || !outline || !predicted) return null
    const answers = here.mates.map((t) => outline.predicted[t]!)
    return {
      classes: here.set.classes,
      predicted,
      truth: here.set.truth,
      probabilities: this.chances,
      since: answers[this.since]!,
      firstRight: this.answers!.firsts(here.number),
      flips: this.order === 'flips' ? flipsUntil(answers, here.rank) : null,
      other: this.rival.said,
      place: here.rank,
    }
  })
  /** How many examples each choice would show, and the numbers of those that are shown. */
  readonly counts = $derived(this.moment ? counted(this.moment) : null)
  readonly numbers = $derived.by(() => {
    const { moment, which, truth, said, by, order } = this
    return moment ? ordered(moment, { which, truth, said, by, order }) : new Uint32Array(0)
  })

  readonly matrix = $derived(
    this.set?.truth && this.predicted ? confusion(this.set.truth, this.predicted, this.set.classes) : null,
  )
  readonly scores = $derived(this.set && this.matrix ? classScores(this.matrix, this.set.classes) : null)
  /** How many answers are not finite. */
  readonly missing = $derived.by(() => {
    let n = 0
    for (const k of this.predicted ?? []) if (k === NONE(this.predicted!)) n += 1
    return n
  })
  readonly meanLoss = $derived.by(() => {
    const { set, chances, predicted } = this
    if (!set?.truth || !chances) return NaN
    let [sum, n] = [0, 0]
    for (let i = 0; i < set.examples; i += 1) {
      if (predicted![i]! >= set.classes) continue
      sum -= Math.log(chances[i * set.classes + set.truth[i]!]!)
      n += 1
    }
    return sum / n
  })
  readonly reliable = $derived(
    this.set?.truth && this.chances && this.predicted
      ? calibration(this.set.truth, this.predicted, this.chances, this.set.classes)
      : null,
  )

  // Curves take some milliseconds for each class: while the film plays they come when there is a moment to spare.
  curves = $state.raw<({ k: number } & ReturnType<typeof curvesOf>)[]>([])
  curvesStep = $state(0)

  // The examples themselves, once for each set.
  inputs = $state.raw<Inputs | null>(null)
  inputsProblem = $state<string | null>(null)
  /** They are large: loaded when asked for. */
  heavy = $state(false)
  #inputsOf = ''

  constructor() {
    $effect(() => {
      if (this.detail && this.series) this.answers?.load(this.detail.row, this.series)
    })
    $effect(() => {
      if (!this.here || !this.answers) return
      const { mates, rank } = this.here
      const near = playhead.playing ? [1, 2, 3, 4] : [1, -1]
      this.answers.prefetch(near.map((by) => mates[rank + by]).filter((t) => t !== undefined))
    })
    $effect(() => this.#drawCurves())
    $effect(() => {
      const { set, detail } = this
      const blob = set && detail ? `${detail.row.id} ${set.inputs_blob}` : ''
      if (blob === this.#inputsOf) return
      this.#inputsOf = blob
      this.inputs = null
      this.inputsProblem = null
      this.heavy = !!set && set.inputs_bytes > INPUTS_BYTES
      if (set?.inputs_blob && !this.heavy) this.fetchInputs()
    })
  }

  #classAt(name: string): number | null {
    const k = Number(address.get(name) || NaN)
    return this.set && Number.isInteger(k) && k >= 0 && k < this.set.classes ? k : null
  }

  #drawCurves(): (() => void) | undefined {
    const { set, chances, truth } = this
    const [truths, classes, step] = [set?.truth, set?.classes ?? 0, this.here?.step ?? 0]
    if (!truths || !chances) {
      if (!truths) this.curves = []
      return undefined
    }
    const first = Array.from({ length: Math.min(DRAWN, classes) }, (_, k) => k)
    const ks = truth !== null && !first.includes(truth) ? [...first.slice(0, DRAWN - 1), truth] : first
    const timer = setTimeout(
      () => {
        this.curves = ks.map((k) => ({ k, ...curvesOf(truths, chances, classes, k) }))
        this.curvesStep = step
      },
      playhead.playing ? 120 : 0,
    )
    return () => clearTimeout(timer)
  }

  /** Loads the examples themselves. */
  fetchInputs(): void {
    const [blob, set, run] = [this.#inputsOf, this.set, this.detail?.row.id]
    if (!set || !run) return
    this.heavy = false
    loadInputs(run, set).then(
      (found) => {
        if (this.#inputsOf === blob) this.inputs = found
      },
      (error: unknown) => {
        if (this.#inputsOf === blob) this.inputsProblem = message(error)
      },
    )
  }

  /** Shows the examples of a cell of the matrix, by whose prediction; null for all. */
  open(truth: number | null, said: number | null, by: By = 'a'): void {
    address.set('truth', truth === null ? null : String(truth))
    address.set('said', said === null ? null : String(said))
    address.set('by', said === null ? null : by, 'a')
  }
}
