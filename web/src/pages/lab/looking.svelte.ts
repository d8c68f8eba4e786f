/** What is looked at of a lab, as the address says it: which trials, in which colours, through which stretches. */
import type { ChartActions } from '../../charts/chart'
import { slotColour } from '../../state/colours'
import { address } from '../../state/address.svelte'
import { theme, type Theme } from '../../state/theme.svelte'
import { cssFromPixel } from '../../maths/colour'
import { colourTable } from '../../maths/colourmaps'
import type { LabDocument, TrialDocument } from '../../wire/types'
import type { LabData } from './data.svelte'
import {
  Axes,
  cellOf,
  columnsOf,
  inBrush,
  placeOn,
  readBrush,
  readNumbers,
  sorted,
  writeBrush,
  writeNumbers,
  type Brush,
  type Column,
} from './trials'

export const SKIP = 5

/** The cards of the page that can be saved, in the order in which they stand. */
const CARDS = [
  'trials',
  'effects',
  'spread',
  'curves',
  'curves2',
  'parallel',
  'bars',
  'scatter',
  'matrices',
  'failed',
] as const
export type CardName = (typeof CARDS)[number]

/** The palest end of the scale would not be seen on white, nor the darkest on black. */
export const rampPart = (at: number, name: Theme): number => (name === 'light' ? at * 0.88 : 0.14 + at * 0.86)

export class Looking {
  readonly data: LabData
  readonly document: LabDocument
  readonly columns: readonly Column[]
  readonly axes: Axes
  /** The trial under the mouse, on whichever chart. */
  over = $state.raw<number | null>(null)

  readonly #cards = new Map<CardName, () => ChartActions | null>()

  constructor(data: LabData, document: LabDocument) {
    this.data = data
    this.document = document
    this.columns = columnsOf(document)
    this.axes = new Axes([{ id: 'trial', title: 'trial' }, ...this.columns], document.trials)
  }

  readonly hidden = $derived(readNumbers(address.get('labhide')))
  readonly pinned = $derived(readNumbers(address.get('labpin')))
  readonly brush: Brush = $derived(readBrush(address.get('labbrush')))
  readonly skip = $derived.by(() => {
    const asked = address.get('labskip')
    return /^\d{1,6}$/.test(asked) ? Number(asked) : SKIP
  })
  /** The column that colours; `trial` gives each configuration its own. */
  readonly by = $derived.by(() => {
    const asked = address.get('labby', 'trial')
    return this.axes.has(asked) ? asked : 'trial'
  })
  readonly sort = $derived.by((): { id: string; down: boolean } => {
    const asked = address.get('labsort')
    const id = asked.replace(/^-/, '')
    if (asked && (this.axes.has(id) || id === 'status')) return { id, down: asked.startsWith('-') }
    return { id: `m:${this.document.lab.objective}`, down: this.document.lab.mode === 'max' }
  })
  readonly trials: readonly TrialDocument[] = $derived.by(() =>
    sorted(this.document.trials, this.sort.id, this.sort.down),
  )
  /** Trials that charts draw, in the order of the table. */
  readonly shown: readonly TrialDocument[] = $derived(
    this.trials.filter((t) => !this.hidden.has(t.trial) && inBrush(t, this.brush, this.axes)),
  )
  readonly shownNumbers: ReadonlySet<number> = $derived(new Set(this.shown.map((t) => t.trial)))
  readonly colours: ReadonlyMap<number, string> = $derived.by(() => {
    const name = theme.name
    if (this.by === 'trial') {
      return new Map(this.document.trials.map((t) => [t.trial, slotColour(t.configuration, name)]))
    }
    const axis = this.axes.get(this.by)!
    const table = colourTable('viridis', name)
    return new Map(
      this.document.trials.map((t) => {
        const cell = cellOf(t, this.by)
        const at = placeOn(axis, cell)
        if (Number.isNaN(at)) return [t.trial, theme.colour('--faint')]
        if (axis.kind !== 'choice') return [t.trial, cssFromPixel(table[Math.round(rampPart(at, name) * 255)]!)]
        return [t.trial, slotColour(axis.choices.indexOf(String(cell)), name)]
      }),
    )
  })

  colour(trial: number): string {
    return this.colours.get(trial) ?? 'gray'
  }

  sortBy(id: string): void {
    const { id: now, down } = this.sort
    const first = id.startsWith('m:') && !/loss|error/i.test(id)
    address.set('labsort', `${(now === id ? !down : first) ? '-' : ''}${id}`)
  }

  #toggle(param: string, numbers: ReadonlySet<number>, trial: number): void {
    const next = new Set(numbers)
    if (!next.delete(trial)) next.add(trial)
    address.set(param, writeNumbers(next) || null)
  }

  /** A card says how it is saved, for as long as it is there. */
  offer(card: CardName, actions: () => ChartActions | null): () => void {
    this.#cards.set(card, actions)
    return () => {
      if (this.#cards.get(card) === actions) this.#cards.delete(card)
    }
  }

  /** How each card is saved that is there and has something in it. */
  get cards(): ChartActions[] {
    return CARDS.flatMap((card) => this.#cards.get(card)?.() ?? [])
  }

  hide(trial: number): void {
    this.#toggle('labhide', this.hidden, trial)
  }

  pin(trial: number): void {
    this.#toggle('labpin', this.pinned, trial)
  }

  /** Shows the trials of a stretch of an axis only; null lets all through. */
  setBrush(id: string, range: readonly [number, number] | null): void {
    const next = new Map(this.brush)
    if (range) next.set(id, range)
    else next.delete(id)
    address.set('labbrush', writeBrush(next) || null)
  }
}
