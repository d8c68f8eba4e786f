/** What a network said of examples, as the wire packs it. */
import { decodeContainer, WireError, type NumberArray } from './frames'
import type { ExampleSetDocument, PredictionsHeader } from './types'

export interface ExampleSet extends ExampleSetDocument {
  /** The right answers, null where they are not known. */
  truth: Uint32Array | null
}

/** The likeliest class of each example at each step. */
export interface Outline {
  series: string
  steps: Float64Array
  /** Number of each step's set in `sets`. */
  of: Uint32Array
  /** Of each step the class said of each example of its set. */
  predicted: (Uint8Array | Uint32Array)[]
  blobs: string[]
  sets: ExampleSet[]
  total: number
  stride: number
  unreadable: number
}

/** One example at all steps: probabilities [T, C], row by row. */
export interface ExampleFilm {
  steps: Float64Array
  classes: number
  probabilities: Float32Array
}

const array = (arrays: Record<string, NumberArray>, name: string): NumberArray => {
  const found = arrays[name]
  if (!found) throw new WireError(`EPF1: array ${name} is missing`)
  return found
}

/** Reads the answer of /predictions. */
export function decodeOutline(buffer: ArrayBuffer): Outline {
  const { facts, arrays } = decodeContainer(buffer)
  const { series, total, stride, unreadable, blobs, sets: listed } = facts as unknown as PredictionsHeader
  const of = array(arrays, 'of').data as Uint32Array
  const all = array(arrays, 'predicted').data as Uint8Array | Uint32Array
  const labels = array(arrays, 'labels').data as Uint32Array
  let at = 0
  const sets = listed.map((each) => {
    const truth = each.labels ? labels.subarray(at, at + each.examples) : null
    if (each.labels) at += each.examples
    return { ...each, truth }
  })
  at = 0
  const predicted = [...of].map((number) => {
    const count = sets[number]?.examples ?? 0
    at += count
    return all.subarray(at - count, at)
  })
  if (at !== all.length) throw new WireError('the answers do not fit their examples')
  const steps = array(arrays, 'steps').data as Float64Array
  return { series, steps, of, predicted, blobs, sets, total, stride, unreadable }
}

/** Reads the answer of /predictions for one example. */
export function decodeExample(buffer: ArrayBuffer): ExampleFilm {
  const { arrays } = decodeContainer(buffer)
  const { shape, data } = array(arrays, 'probabilities')
  return {
    steps: array(arrays, 'steps').data as Float64Array,
    classes: shape[1] ?? 0,
    probabilities: data as Float32Array,
  }
}
