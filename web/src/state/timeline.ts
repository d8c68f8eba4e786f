/** The time of a run: its steps, epochs, and the stops at which it can be seen. Pure. */
import { indexAtOrBefore } from '../maths/search'
export { indexAtOrBefore as lastAtMost } from '../maths/search'
import type { RunDetail } from '../wire/types'
import { trained } from './machine'

export interface RunTime {
  /** First and last step anything was recorded at. */
  first: number
  last: number
  /** Last step when the run will be over, as far as can be told; `last` for a run that has ended. */
  end: number
  /** Steps that arrow keys go to: those of snapshots, else of epochs; growing. */
  stops: readonly number[]
  /** Steps whose epoch is known, growing, and their epochs. */
  epochSteps: readonly number[]
  epochs: readonly number[]
  /** All epochs there will be, where known. */
  totalEpochs: number | null
  running: boolean
}

export const NO_TIME: RunTime = {
  first: 0,
  last: 0,
  end: 0,
  stops: [],
  epochSteps: [],
  epochs: [],
  totalEpochs: null,
  running: false,
}

export function timeOf(detail: RunDetail | undefined): RunTime {
  if (!detail) return NO_TIME
  const { row, snapshots, epoch_steps: epochSteps, epochs } = detail
  const metrics = trained(row.metrics).map(([, metric]) => metric)
  const firsts = [snapshots[0], epochSteps[0], ...metrics.map((m) => m.first_step)].filter((s) => s !== undefined)
  const lasts = [snapshots.at(-1), epochSteps.at(-1), ...metrics.map((m) => m.last_step), row.last_step ?? undefined]
  const first = firsts.length ? Math.min(...firsts) : 0
  const last = Math.max(first, ...lasts.filter((s) => s !== undefined))
  const stops = snapshots.length > 1 ? snapshots : epochSteps
  const running = row.status === 'running'
  const time: RunTime = { first, last, end: last, stops, epochSteps, epochs, totalEpochs: row.total_epochs, running }
  return running ? { ...time, end: Math.max(last, projectedEnd(time)) } : time
}

/** The step at which the last epoch will end, at the pace so far. */
function projectedEnd({ epochSteps, epochs, totalEpochs, last }: RunTime): number {
  const n = epochSteps.length
  if (n < 2 || totalEpochs === null) return last
  const pace = (epochSteps[n - 1]! - epochSteps[0]!) / (epochs[n - 1]! - epochs[0]!)
  // Epochs may be counted from 0 or from 1: the last one is total - 1 or total.
  const lastEpoch = epochs[0] === 0 ? totalEpochs - 1 : totalEpochs
  return pace > 0 && Number.isFinite(pace) ? Math.round(epochSteps[n - 1]! + (lastEpoch - epochs[n - 1]!) * pace) : last
}

/** The epoch at a step: the last one written at or before it, null where epochs are not known. */
export function epochAt({ epochSteps, epochs }: RunTime, step: number): number | null {
  const at = indexAtOrBefore(epochSteps, step)
  return epochs[Math.max(0, at)] ?? null
}

/** Steps whose epoch is known, growing, and their epochs. */
export interface EpochMap {
  epochSteps: ArrayLike<number>
  epochs: ArrayLike<number>
}

/** A step as a position in epochs, between those that are known; for axes. */
export function epochPosition({ epochSteps, epochs }: EpochMap, step: number): number {
  const n = epochSteps.length
  if (n === 0) return Number.NaN
  if (n === 1) return epochs[0]!
  const i = Math.min(n - 2, Math.max(0, indexAtOrBefore(epochSteps, step)))
  const [a, b] = [epochSteps[i]!, epochSteps[i + 1]!]
  return epochs[i]! + ((step - a) / (b - a || 1)) * (epochs[i + 1]! - epochs[i]!)
}

/** The step at which an epoch is reached, the pace before and after what is known going on. */
export function stepOfEpoch({ epochSteps, epochs }: EpochMap, epoch: number): number {
  const n = epochs.length
  if (n < 2) return epochSteps[0] ?? 0
  const i = Math.min(n - 1, Math.max(1, indexAtOrBefore(epochs, epoch) + 1))
  const [a, b] = [epochs[i - 1]!, epochs[i]!]
  return epochSteps[i - 1]! + ((epoch - a) / (b - a || 1)) * (epochSteps[i]! - epochSteps[i - 1]!)
}

/** The step that lies `by` stops further, from a step that may lie between two stops. */
export function stopFrom({ stops, first, last }: RunTime, step: number, by: number): number {
  if (stops.length < 2) {
    const one = Math.max(1, Math.round((last - first) / 200))
    return Math.min(last, Math.max(first, step + by * one))
  }
  const at = indexAtOrBefore(stops, step)
  const between = at < 0 || stops[at] !== step
  // Going back from between two stops reaches the earlier one first.
  const index = at + by + (by < 0 && between ? 1 : 0)
  return stops[Math.min(stops.length - 1, Math.max(0, index))]!
}

/** Seconds that one play of the whole run takes at speed 1: about ten stops a second, never too short or long. */
export function playSeconds({ stops, first, last }: RunTime): number {
  const n = stops.length > 1 ? stops.length : Math.min(200, last - first + 1)
  return Math.min(30, Math.max(6, n / 10))
}
