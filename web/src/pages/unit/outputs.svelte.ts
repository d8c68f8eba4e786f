/**
 * What recorded examples do to a unit. It is calculated here, from the weights at the playhead, and only where the whole
 * network calculated in the same way says of the recorded examples what was recorded: else they are not what it was given.
 */
import { films } from '../../films/films.svelte'
import { frameAt, type Frames } from '../../films/frames'
import { classCorrelations, forward, isKnown, largestPlaces, type Dense } from '../../maths/forward'
import { countIn } from '../../maths/histogram'
import { NONE } from '../../maths/scores'
import { playhead } from '../../state/playhead.svelte'
import type { HistogramStack } from '../../wire/frames'
import type { ExampleSet } from '../../wire/predictions'
import type { MediaSeriesDocument, RunDetail } from '../../wire/types'
import { Answers, INPUTS_BYTES, placeOf } from '../examples/answers.svelte'
import { givenOf, loadInputs, type Inputs } from '../examples/inputs'
import type { UnitLayer } from './units'

export interface Subject {
  detail: RunDetail
  series: MediaSeriesDocument
  /** All layers of the chain, from input to output. */
  layers: readonly UnitLayer[]
  layer: UnitLayer
  unit: number
}

const MOST = 12
const AGREE = 0.99
const BINS = 40
/** To tell how something came about: so many steps, so much multiplied at one of them, so long at a time, then a rest. */
const FRAMES = 60
const PRODUCTS = 3e6
const SLICE_MS = 8
const REST_MS = 24

/** Numbers at several steps: values [T, width]. */
export interface Through {
  readonly steps: Float64Array
  readonly width: number
  readonly values: Float32Array
  /** Over so many examples. */
  readonly examples: number
}

export class UnitOutputs {
  readonly #of: () => Subject | null
  readonly #run = $derived.by(() => this.#of()?.detail.row.id ?? '')
  readonly #answers = $derived(new Answers(this.#run))
  readonly #place = $derived.by(() => placeOf(this.#answers.outline, playhead.step))
  readonly set = $derived.by((): ExampleSet | null => this.#place?.set ?? null)
  #loaded = $state.raw<{ blob: string; inputs: Inputs | null } | null>(null)
  readonly inputs = $derived.by(() =>
    this.set && this.#loaded?.blob === this.set.inputs_blob ? this.#loaded.inputs : null,
  )
  /** The examples as the network was given them, [N, inputs]. */
  readonly #examples = $derived.by(() => {
    const [inputs, set, subject] = [this.inputs, this.set, this.#of()]
    const found = inputs && set ? givenOf(inputs, set) : null
    return found && inputs && found.length === inputs.count * (subject?.layers[0]?.inputs ?? 0) ? found : null
  })
  readonly #all = $derived.by(() => {
    const { detail, layers } = this.#of() ?? { detail: null, layers: [] }
    return layers.map((l) => ({
      layer: l,
      weight: films.show(detail!.row, l.weight.series, 'value').frames,
      bias: l.bias ? films.show(detail!.row, l.bias.series, 'value').frames : null,
    }))
  })
  readonly #ready = $derived(
    this.#all.length > 0 &&
      this.#all.every(({ layer, weight, bias }) => isKnown(layer.about.activation) && weight && (bias || !layer.bias)),
  )
  /** The share of examples of which the network, calculated here, says what was recorded of that step. */
  readonly #agreement = $derived.by(() => {
    const [outline, place, examples] = [this.#answers.outline, this.#place, this.#examples]
    if (!this.#ready || !examples || !place || !outline || !this.inputs) return null
    const chain = this.#all.map((_, i) => this.#dense(i, place.step))
    const said = largestPlaces(forward(chain, examples, this.inputs.count), chain.at(-1)!.units)
    const recorded = outline.predicted[place.place]!
    const none = NONE(recorded)
    let [same, known] = [0, 0]
    for (let n = 0; n < said.length; n += 1) {
      if (recorded[n] === none) continue
      known += 1
      if (said[n] === recorded[n]) same += 1
    }
    return known ? same / known : said.length ? null : 0
  })
  /** Whether the network had no finite answer to any example at the playhead. */
  readonly noAnswers = $derived.by(() => {
    const [outline, place] = [this.#answers.outline, this.#place]
    if (!outline || !place) return false
    const recorded = outline.predicted[place.place]!
    return recorded.length > 0 && recorded.every((one) => one === NONE(recorded))
  })
  /** The examples are not what the network was given, or it is not known what that was. */
  readonly otherNumbers = $derived.by(
    () =>
      (this.inputs !== null && this.set !== null && this.set.shown && !this.#examples) ||
      (this.#agreement !== null && this.#agreement < AGREE),
  )

  /** What the unit puts out for each example at the playhead; null as long as that is not known. */
  readonly values = $derived.by(() =>
    this.#agreement !== null && this.#agreement >= AGREE ? this.#at(playhead.step) : null,
  )
  readonly correlations = $derived.by(() => {
    const [values, set] = [this.values, this.set]
    return values && set?.truth ? classCorrelations(values, set.truth, set.classes) : null
  })
  /** The examples that move it most, the first one the most. */
  readonly best = $derived.by(() => {
    const values = this.values
    if (!values) return []
    const all = Array.from(values.keys())
    return all.sort((a, b) => values[b]! - values[a]! || a - b).slice(0, MOST)
  })
  readonly histogram = $derived.by((): HistogramStack | null => {
    const values = this.values
    if (!values?.length) return null
    const { counts, lo, hi } = countIn(values, BINS)
    const steps = Float64Array.of(playhead.step)
    return { steps, bins: BINS, counts, lo: Float64Array.of(lo), hi: Float64Array.of(hi), columns: [], statistics: new Float64Array(0) } // prettier-ignore
  })
  /** Correlations through the training; null until they were worked out. */
  through = $state.raw<Through | null>(null)

  constructor(of: () => Subject | null) {
    this.#of = of
    $effect(() => {
      const subject = this.#of()
      if (subject) this.#answers.load(subject.detail.row, subject.series)
    })
    $effect(() => {
      const wanted = this.set
      if (!wanted?.inputs_blob || wanted.inputs_bytes > INPUTS_BYTES || this.#loaded?.blob === wanted.inputs_blob)
        return
      let gone = false
      const put = (inputs: Inputs | null) => !gone && (this.#loaded = { blob: wanted.inputs_blob, inputs })
      loadInputs(this.#run, wanted).then(put, () => put(null))
      return () => (gone = true)
    })
    const agrees = $derived(this.#agreement !== null && this.#agreement >= AGREE)
    $effect(() => {
      const subject = this.#of()
      this.through = null
      if (subject && agrees) return this.#work(subject)
      return undefined
    })
  }

  #dense(i: number, step: number, only: number | null = null): Dense {
    const { layer: of, weight, bias } = this.#all[i]!
    const at = (f: Frames) => frameAt(f, step)
    const [w, b] = [at(weight!), bias ? at(bias) : 0]
    const [first, units] = only === null ? [0, of.units] : [only, 1]
    return {
      weight: Float32Array.from({ length: units * of.inputs }, (_, k) => weight!.value(w, first * of.inputs + k)),
      bias: bias ? Float32Array.from({ length: units }, (_, u) => bias.value(b, first + u)) : null,
      units,
      inputs: of.inputs,
      activation: of.about.activation,
    }
  }

  #at(step: number, rows: Float32Array | null = this.#examples): Float32Array | null {
    const subject = this.#of()
    if (!subject || !rows) return null
    const count = rows.length / subject.layers[0]!.inputs
    const { layers, layer, unit } = subject
    const place = layers.indexOf(layer)
    const before = layers.slice(0, place).map((_, i) => this.#dense(i, step))
    const softmax = layer.about.activation !== null && /softmax/i.test(layer.about.activation)
    const found = forward([...before, this.#dense(place, step, softmax ? null : unit)], rows, count)
    return softmax ? found.filter((_, i) => i % layer.units === unit) : found
  }

  /** Works out correlations step by step, a little at a time so that the page stays quick; what it gives ends it. */
  #work({ layers, layer }: Subject): (() => void) | undefined {
    const [set, frames] = [this.set, this.#all[layers.indexOf(layer)]?.weight]
    if (!set?.truth || !frames || frames.steps.length < 2) return undefined
    const { truth, classes } = set
    const all = this.#examples
    const size = layers[0]!.inputs
    if (!all) return undefined
    const before = layers.slice(0, layers.indexOf(layer))
    const each = layer.inputs + before.reduce((n, l) => n + l.units * l.inputs, 0)
    const examples = Math.min(set.examples, Math.max(50, Math.floor(PRODUCTS / each)))
    const chosen = Uint32Array.from({ length: examples }, (_, n) => Math.floor((n * set.examples) / examples))
    const rows = new Float32Array(examples * size)
    chosen.forEach((from, n) => rows.set(all.subarray(from * size, (from + 1) * size), n * size))
    const labels = Uint32Array.from(chosen, (n) => truth[n]!)
    const count = Math.min(frames.steps.length, FRAMES)
    const steps = Float64Array.from({ length: count }, (_, t) => frames.steps[Math.round((t * (frames.steps.length - 1)) / (count - 1))]!) // prettier-ignore
    const values = new Float32Array(count * classes)
    let t = 0
    let timer: ReturnType<typeof setTimeout>
    const go = () => {
      for (const until = performance.now() + SLICE_MS; t < count && performance.now() < until; t += 1) {
        const found = this.#at(steps[t]!, rows)
        if (!found) return
        values.set(classCorrelations(found, labels, classes), t * classes)
      }
      if (t < count) timer = setTimeout(go, REST_MS)
      else this.through = { steps, width: classes, values, examples }
    }
    timer = setTimeout(go, 200)
    return () => clearTimeout(timer)
  }
}
