/** Trials of a lab: what stands in their columns, where that lies on an axis, which of them are shown. Pure. */
import { formatTicks, formatValue } from '../../maths/numbers'
import { logTicks, niceTicks } from '../../maths/ticks'
import { formatSeconds } from '../../state/format'
import type { LabDocument, TrialDocument } from '../../wire/types'
import type { TrialCurve } from '../../wire/labs'

export type Cell = number | string | null

/** A column of the trials: a parameter (`p:`), a metric (`m:`), the time, or the mean of a curve (`c:`). */
export interface Column {
  id: string
  title: string
  numeric: boolean
}

/** A parameter's value as text. */
export function valueText(value: unknown): string {
  if (value === undefined) return 'not set'
  if (value === null) return 'none'
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(Number(value.toPrecision(6)))
  if (Array.isArray(value)) return `[${value.map(valueText).join(', ')}]`
  return JSON.stringify(value)
}

/** What a trial has in a column; a number where every trial could have one, else text. */
export function cellOf(trial: TrialDocument, id: string): Cell {
  if (id === 'trial') return trial.trial
  if (id === 'status') return trial.status
  if (id === 'seed') return trial.seed
  if (id === 'repeat') return trial.repeat
  if (id === 'seconds') return trial.seconds
  if (id.startsWith('m:')) return trial.metrics[id.slice(2)] ?? null
  if (!id.startsWith('p:')) return null
  const value = trial.parameters[id.slice(2)]
  return typeof value === 'number' ? value : valueText(value)
}

export function columnsOf(lab: LabDocument): Column[] {
  const parameters = lab.parameters.map((name) => ({
    id: `p:${name}`,
    title: name,
    numeric: lab.trials.every(({ parameters: p }) => typeof p[name] === 'number'),
  }))
  const metrics = lab.metrics.map((name) => ({ id: `m:${name}`, title: name, numeric: true }))
  const own = metrics.findIndex((m) => m.title === lab.lab.objective)
  if (own > 0) metrics.unshift(...metrics.splice(own, 1))
  return [...parameters, ...metrics.slice(0, 1), { id: 'seconds', title: 'time', numeric: true }, ...metrics.slice(1)]
}

/** Texts by their letters and numbers; lists of numbers by one number after the other, shorter ones first. */
export function compareTexts(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => (text.startsWith('[') ? text.slice(1, -1).split(',').map(Number) : []))
  if (!left!.length !== !right!.length) return left!.length ? -1 : 1
  for (let i = 0; i < Math.max(left!.length, right!.length); i++) {
    const difference = (left![i] ?? -Infinity) - (right![i] ?? -Infinity)
    if (difference) return difference
  }
  return a.localeCompare(b, 'en', { numeric: true })
}

/** Rows in the order of a column; what is missing comes last either way. */
export function sorted(trials: readonly TrialDocument[], id: string, down: boolean): TrialDocument[] {
  const sign = down ? -1 : 1
  const keyed = trials.map((trial) => ({ trial, key: cellOf(trial, id) }))
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return Number(a.key === null) - Number(b.key === null)
    if (typeof a.key === 'number' && typeof b.key === 'number') return sign * (a.key - b.key)
    return sign * compareTexts(String(a.key), String(b.key))
  })
  return keyed.map(({ trial }) => trial)
}

/** An axis of values: numbers from low to high, as logarithms where they span much, or choices side by side. */
export interface Axis {
  id: string
  title: string
  kind: 'number' | 'log' | 'choice'
  low: number
  high: number
  choices: readonly string[]
  /** Its values, where it is numbers and they are few. */
  marks: readonly number[]
}

/** Numbers above zero that span this much are drawn as logarithms. */
const LOG_FROM = 50
const MARKS_MOST = 6

export function axisOf(column: Pick<Column, 'id' | 'title'>, trials: readonly TrialDocument[]): Axis {
  const cells = trials.map((trial) => cellOf(trial, column.id)).filter((cell) => cell !== null)
  const { id, title } = column
  const numbers = cells.filter((cell) => typeof cell === 'number' && Number.isFinite(cell)) as number[]
  if (numbers.length < cells.length || !numbers.length) {
    const choices = [...new Set(cells.map(String))].sort(compareTexts)
    return { id, title, kind: 'choice', low: 0, high: 1, choices, marks: [] }
  }
  let [low, high] = [Infinity, -Infinity]
  for (const n of numbers) {
    low = Math.min(low, n)
    high = Math.max(high, n)
  }
  const kind = low > 0 && high / low >= LOG_FROM && id.startsWith('p:') ? 'log' : 'number'
  const different = [...new Set(numbers)].sort((a, b) => a - b)
  return { id, title, kind, low, high, choices: [], marks: different.length <= MARKS_MOST ? different : [] }
}

/** The axes of columns by their ids, each worked out when it is first asked for: of thousands of trials that takes a while. */
export class Axes {
  readonly #columns: ReadonlyMap<string, Pick<Column, 'id' | 'title'>>
  readonly #trials: readonly TrialDocument[]
  readonly #made = new Map<string, Axis>()

  constructor(columns: readonly Pick<Column, 'id' | 'title'>[], trials: readonly TrialDocument[]) {
    this.#columns = new Map(columns.map((column) => [column.id, column]))
    this.#trials = trials
  }

  /** What may be an axis, in the order of the columns. */
  get columns(): Pick<Column, 'id' | 'title'>[] {
    return [...this.#columns.values()]
  }

  has(id: string): boolean {
    return this.#columns.has(id)
  }

  get(id: string): Axis | undefined {
    const column = this.#columns.get(id)
    let axis = this.#made.get(id)
    if (column && !axis) this.#made.set(id, (axis = axisOf(column, this.#trials)))
    return axis
  }
}

/** Where a cell lies on an axis, from 0 to 1; NaN where it lies nowhere. */
export function placeOn(axis: Axis, cell: Cell): number {
  if (cell === null) return NaN
  if (axis.kind === 'choice') {
    const k = axis.choices.indexOf(String(cell))
    return k < 0 ? NaN : axis.choices.length < 2 ? 0.5 : k / (axis.choices.length - 1)
  }
  if (typeof cell !== 'number' || !Number.isFinite(cell)) return NaN
  if (axis.low === axis.high) return 0.5
  if (axis.kind === 'log') return Math.log(cell / axis.low) / Math.log(axis.high / axis.low)
  return (cell - axis.low) / (axis.high - axis.low)
}

/** The value at a place of an axis. */
export function valueOn(axis: Axis, place: number): number {
  if (axis.kind === 'log') return axis.low * (axis.high / axis.low) ** place
  return axis.low + (axis.high - axis.low) * place
}

/** A number of an axis as people read it. */
export const numberOn = (axis: Axis, value: number, digits = 3): string =>
  axis.id === 'seconds' ? formatSeconds(value) : formatValue(value, digits)

/** Where an axis is labelled, and how: at both ends and `parts` stretches between where it is of many numbers. */
export function labelsOn(axis: Axis, parts: number): [number, string][] {
  if (axis.kind === 'choice') return axis.choices.map((choice) => [placeOn(axis, choice), choice])
  if (axis.low === axis.high) return [[0.5, numberOn(axis, axis.low)]]
  if (axis.marks.length) return axis.marks.map((mark) => [placeOn(axis, mark), numberOn(axis, mark)])
  return Array.from({ length: parts + 1 }, (_, k) => [k / parts, numberOn(axis, valueOn(axis, k / parts))])
}

/** The same at round numbers, about so many, where it is of many numbers. */
export function roundLabelsOn(axis: Axis, about: number): [number, string][] {
  if (axis.kind === 'choice' || axis.low === axis.high) return labelsOn(axis, about)
  const powers = axis.kind === 'log' ? logTicks(axis.low, axis.high, about) : []
  const ticks = powers.length > 1 ? powers : niceTicks(axis.low, axis.high, about)
  const plain = powers.length > 1 ? ticks.map((tick) => formatValue(tick, 3)) : formatTicks(ticks)
  // Times as people say them, where that tells them apart.
  const times = axis.id === 'seconds' ? ticks.map((tick) => formatSeconds(tick)) : []
  const labels = !times.length ? plain : new Set(times).size === times.length ? times : plain.map((text) => `${text} s`)
  return ticks.map((tick, k) => [placeOn(axis, tick), labels[k]!])
}

/** Stretches of axes that trials must lie in, by the axis's id. */
export type Brush = ReadonlyMap<string, readonly [number, number]>

const EDGE = 1e-9

export function writeBrush(brush: Brush): string {
  return [...brush].map(([id, [a, b]]) => `${encodeURIComponent(id)}~${a.toFixed(4)}~${b.toFixed(4)}`).join(',')
}

export function readBrush(text: string): Brush {
  const found = new Map<string, readonly [number, number]>()
  for (const part of text.split(',')) {
    const [id, a, b] = part.split('~')
    const [low, high] = [Number(a), Number(b)]
    if (id && Number.isFinite(low) && Number.isFinite(high) && low <= high)
      found.set(decodeURIComponent(id), [low, high])
  }
  return found
}

export const inBrush = (trial: TrialDocument, brush: Brush, axes: Pick<Axes, 'get'>): boolean =>
  [...brush].every(([id, [low, high]]) => {
    const axis = axes.get(id)
    if (!axis) return true
    const at = placeOn(axis, cellOf(trial, id))
    return at >= low - EDGE && at <= high + EDGE
  })

/** Numbers of trials in the address: `1,4,7`. */
export const readNumbers = (text: string): ReadonlySet<number> =>
  new Set(text.split(',').flatMap((part) => (/^\d+$/.test(part) ? [Number(part)] : [])))
export const writeNumbers = (numbers: Iterable<number>): string => [...numbers].sort((a, b) => a - b).join(',')

/** Numbers as stretches [first, count] that hold them all, none longer than `most`; neighbours come together. */
export function stretches(numbers: readonly number[], most: number, gap = 4): [number, number][] {
  const found: [number, number][] = []
  for (const n of [...new Set(numbers)].sort((a, b) => a - b)) {
    const last = found.at(-1)
    const count = last ? n - last[0] + 1 : Infinity
    if (last && count <= most && n - (last[0] + last[1]) <= gap) last[1] = count
    else found.push([n, 1])
  }
  return found
}

/** Curves by the trial's number and the series' name. */
export type Curves = ReadonlyMap<number, ReadonlyMap<string, TrialCurve>>

/** The mean of the finite values of epochs after the first `skip`, and how many there are. As views/lab.py has it. */
export function meanAfter(curve: TrialCurve | undefined, skip: number): { mean: number; count: number } {
  let [sum, count] = [0, 0]
  for (let i = 0; i < (curve?.values.length ?? 0); i++) {
    const v = curve!.values[i]!
    if (curve!.epochs[i]! <= skip || !Number.isFinite(v)) continue
    sum += v
    count += 1
  }
  return { mean: count ? sum / count : NaN, count }
}

/** The parameters of a trial that differ from other trials', in a line. */
export const trialText = (trial: TrialDocument, parameters: readonly string[]): string =>
  parameters.map((name) => `${name} ${valueText(trial.parameters[name])}`).join(', ')
