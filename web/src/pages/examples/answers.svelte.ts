/** The answers of one series of one run: all of them small, and all confidences of the steps that are looked at. */
import { message, settled } from '../../films/loaded.svelte'
import { readTensors } from '../../maths/safetensors'
import { source } from '../../source/source'
import type { ExampleFilm, ExampleSet, Outline } from '../../wire/predictions'
import type { MediaSeriesDocument, RunRow } from '../../wire/types'
import { firstRight, placeAt } from './order'

/** So many bytes of confidences are kept; those not looked at for longest are let go of. */
const KEPT_BYTES = 96 << 20
/** Inputs larger than this are loaded when asked for. */
export const INPUTS_BYTES = 96 << 20

export class Answers {
  outline = $state.raw<Outline | null>(null)
  problem = $state<string | null>(null)
  /** Goes up whenever confidences have come. */
  arrived = $state(0)
  readonly #run: string
  readonly #chances = new Map<string, Float32Array>()
  readonly #waiting = new Set<string>()
  readonly #failed = new Set<string>()
  readonly #firsts = new Map<number, Uint32Array>()
  #asked = ''

  constructor(run: string) {
    this.#run = run
  }

  /** Loads where there is something new. */
  load(row: RunRow, series: MediaSeriesDocument): void {
    const asked = `${row.id} ${series.series} ${series.count} ${series.last_step} ${row.status !== 'running'}`
    if (asked === this.#asked) return
    this.#asked = asked
    source()
      .predictions(row.id, series.series, { version: settled(row) })
      .then(
        (outline) => {
          if (asked !== this.#asked) return
          this.#firsts.clear()
          this.outline = outline
          this.problem = null
        },
        (error: unknown) => {
          if (asked === this.#asked) this.problem = message(error)
        },
      )
  }

  /** Confidences [N, C] of a step, by its place; null while they are on their way. Asking starts to load them. */
  chances(place: number): Float32Array | null {
    const blob = this.outline?.blobs[place]
    if (blob === undefined) return null
    const known = this.#chances.get(blob)
    if (known) {
      this.#chances.delete(blob)
      this.#chances.set(blob, known)
      return known
    }
    void this.#fetch(blob)
    return null
  }

  /** Whether the confidences of a step cannot be had; an exported page may hold those of some steps only. */
  lacks(place: number): boolean {
    const blob = this.outline?.blobs[place]
    return blob !== undefined && this.#failed.has(blob)
  }

  /** Loads what is next, so that it is there when the playhead comes. */
  prefetch(places: readonly number[]): void {
    for (const place of places) {
      const blob = this.outline?.blobs[place]
      if (blob !== undefined && !this.#chances.has(blob)) void this.#fetch(blob)
    }
  }

  async #fetch(blob: string): Promise<Float32Array | null> {
    if (this.#waiting.has(blob) || this.#failed.has(blob)) return null
    this.#waiting.add(blob)
    try {
      const values = (await readChances(this.#run, blob))!
      this.#chances.set(blob, values)
      let bytes = 0
      for (const one of this.#chances.values()) bytes += one.byteLength
      for (const [old, one] of this.#chances) {
        if (bytes <= KEPT_BYTES || old === blob) break
        bytes -= one.byteLength
        this.#chances.delete(old)
      }
      this.arrived += 1
      return values
    } catch {
      this.#failed.add(blob)
      this.arrived += 1 // the outline counts files that cannot be read; one that goes later leaves its bars empty
      return null
    } finally {
      this.#waiting.delete(blob)
    }
  }

  /** Place, among the steps of its set, of the first step at which each example of a set was right. */
  firsts(number: number): Uint32Array | null {
    const outline = this.outline
    const truth = outline?.sets[number]?.truth
    if (!outline || !truth) return null
    let known = this.#firsts.get(number)
    if (!known) {
      known = firstRight(
        placesOf(outline, number).map((t) => outline.predicted[t]!),
        truth,
      )
      this.#firsts.set(number, known)
    }
    return known
  }

  /** One example at all steps. */
  async film(example: number, place: number): Promise<ExampleFilm> {
    const outline = this.outline!
    const step = outline.steps[place]!
    if (source().live) return source().example(this.#run, { series: outline.series, example, at: step })
    const number = outline.of[place]!
    const { classes } = outline.sets[number]!
    const rows: { step: number; values: Float32Array }[] = []
    for (const t of placesOf(outline, number)) {
      // An exported page may hold the files of some steps only.
      const all = await readChances(this.#run, outline.blobs[t]!).catch(() => null)
      if (all) rows.push({ step: outline.steps[t]!, values: all.subarray(example * classes, (example + 1) * classes) })
    }
    const probabilities = new Float32Array(rows.length * classes)
    rows.forEach(({ values }, row) => probabilities.set(values, row * classes))
    return { steps: Float64Array.from(rows, (row) => row.step), classes, probabilities }
  }
}

/** The places of the steps of a set, growing. */
export function placesOf(outline: Outline, number: number): number[] {
  const found: number[] = []
  for (let t = 0; t < outline.of.length; t += 1) if (outline.of[t] === number) found.push(t)
  return found
}

/** What is looked at when the playhead is at a step. */
export interface Place {
  /** Among all steps of the outline. */
  place: number
  step: number
  number: number
  set: ExampleSet
  /** All steps of the same examples, and where this one is among them. */
  mates: number[]
  rank: number
}

export function placeOf(outline: Outline | null, step: number): Place | null {
  if (!outline?.steps.length) return null
  const place = placeAt(outline.steps, step)
  const number = outline.of[place]!
  const mates = placesOf(outline, number)
  return { place, step: outline.steps[place]!, number, set: outline.sets[number]!, mates, rank: mates.indexOf(place) }
}

async function readChances(run: string, blob: string): Promise<Float32Array> {
  const values = readTensors(await source().blob(run, blob)).get('probabilities')?.values
  if (!(values instanceof Float32Array)) throw new Error(`${blob} holds no confidences`)
  return values
}
