/** The items of one series, loaded once and again when the run has more of them. */
import { settled } from '../../films/loaded.svelte'
import { source } from '../../source/source'
import type { MediaDocument, MediaItemDocument, MediaSeriesDocument, RunRow } from '../../wire/types'
import { byStep, rangeOf, stepAt, stepsOf } from './items'

export class SeriesItems {
  document = $state.raw<MediaDocument | null>(null)
  problem = $state<string | null>(null)
  readonly steps = $derived(stepsOf(this.document?.items ?? []))
  readonly range = $derived(rangeOf(this.document?.items ?? []))
  readonly #byStep = $derived(byStep(this.document?.items ?? []))
  #asked = ''

  /** Loads where there is something new. */
  load(row: RunRow, series: MediaSeriesDocument): void {
    const asked = `${row.id} ${series.series} ${series.count} ${series.last_step} ${row.status !== 'running'}`
    if (asked === this.#asked) return
    this.#asked = asked
    source()
      .media(row.id, { series: series.series }, { version: settled(row) })
      .then(
        (document) => {
          if (asked !== this.#asked) return
          this.document = document
          this.problem = null
        },
        (error: unknown) => {
          if (asked === this.#asked) this.problem = error instanceof Error ? error.message : String(error)
        },
      )
  }

  /** The step whose items are shown at a step of the playhead. */
  at(step: number): number | null {
    return stepAt(this.steps, step)
  }

  of(step: number | null): readonly MediaItemDocument[] {
    return step === null ? [] : (this.#byStep.get(step) ?? [])
  }
}
