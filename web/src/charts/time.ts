/** Axes of time: as wide as the run is known to be so far, labelled in epochs where they are known. */

import { formatTicks } from '../maths/numbers'
import { niceTicks } from '../maths/ticks'
import { epochPosition, lastAtMost, type RunTime } from '../state/timeline'

/** The stretch of steps that a chart of time shows: the whole run so far. */
export function timeAxis(time: RunTime, steps: ArrayLike<number>): { from: number; to: number } {
  const first = steps.length ? steps[0]! : 0
  const last = steps.length ? steps[steps.length - 1]! : 1
  const from = Math.min(time.first, first)
  const to = Math.max(time.last, last)
  return to > from ? { from, to } : { from: from - 0.5, to: from + 0.5 }
}

type Time = Pick<RunTime, 'epochSteps' | 'epochs'>

/** Whether steps can be told in epochs. */
export const hasEpochs = (time: Time) => time.epochSteps.length > 1

/** Round ticks in epochs where they are known, else in steps; placed at steps. */
export function timeTicks(time: Time, from: number, to: number, about: number): { ticks: number[]; labels: string[] } {
  if (!hasEpochs(time)) {
    const ticks = niceTicks(from, to, about).filter(Number.isInteger)
    return { ticks, labels: formatTicks(ticks) }
  }
  const epochs = niceTicks(epochPosition(time, from), epochPosition(time, to), about).filter(
    (e) => Number.isInteger(e) && e >= 0,
  )
  return { ticks: epochs.map((e) => stepOfEpoch(time, e)), labels: formatTicks(epochs) }
}

/** The step at a position in epochs. */
export function stepOfEpoch({ epochSteps, epochs }: Time, epoch: number): number {
  const n = epochs.length
  if (n < 2) return epochSteps[0] ?? 0
  const i = Math.min(n - 2, Math.max(0, lastAtMost(epochs, epoch)))
  const [a, b] = [epochs[i]!, epochs[i + 1]!]
  return epochSteps[i]! + ((epoch - a) / (b - a || 1)) * (epochSteps[i + 1]! - epochSteps[i]!)
}
