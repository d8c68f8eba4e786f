/** What x can be on a chart, and the way from steps to x and back. Pure. */
import { indexAtOrBefore } from '../../maths/search'
import { epochPosition, stepOfEpoch, type EpochMap } from '../../state/timeline'
import type { Curve } from '../../wire/columns'

/** `step`, `epoch`, `relative` (seconds since the run began), `wall` (unix seconds), or `metric:<name>`. */
export type XKind = 'step' | 'epoch' | 'relative' | 'wall' | `metric:${string}`

export const metricOf = (kind: XKind): string | null => (kind.startsWith('metric:') ? kind.slice(7) : null)

/** What is needed of a run besides the curve itself. */
export interface XSource {
  created: number
  epochs: EpochMap | null
  /** The curve of the metric that x is, where it is one. */
  metric: Curve | undefined
}

/** x of each point of a curve; null when this run has no such x. */
export function xValues(kind: XKind, curve: Curve, of: XSource): Float64Array | null {
  switch (kind) {
    case 'step':
      return curve.steps
    case 'wall':
      return curve.t
    case 'relative':
      return curve.t.map((t) => t - of.created)
    case 'epoch':
      return of.epochs && of.epochs.epochs.length > 0 ? curve.steps.map((s) => epochPosition(of.epochs!, s)) : null
    default: {
      const metric = of.metric
      if (!metric) return null
      return curve.steps.map((s) => metric.v[indexAtOrBefore(metric.steps, s)] ?? Number.NaN)
    }
  }
}

/** Where a step is in x, between the points of a curve; NaN where that cannot be said. */
export function xOfStep(kind: XKind, step: number, curve: Curve | undefined, of: XSource): number {
  switch (kind) {
    case 'step':
      return step
    case 'epoch':
      return of.epochs ? epochPosition(of.epochs, step) : Number.NaN
    case 'wall':
    case 'relative': {
      if (!curve || curve.t.length === 0) return Number.NaN
      const t = between(curve.steps, curve.t, step)
      return kind === 'wall' ? t : t - of.created
    }
    default: {
      const metric = of.metric
      return metric ? (metric.v[indexAtOrBefore(metric.steps, step)] ?? Number.NaN) : Number.NaN
    }
  }
}

/** The step at an x; null where x is a metric, which may have one value at many steps. */
export function stepOfX(kind: XKind, x: number, curve: Curve | undefined, of: XSource): number | null {
  switch (kind) {
    case 'step':
      return x
    case 'epoch':
      return of.epochs && of.epochs.epochs.length > 1 ? stepOfEpoch(of.epochs, x) : null
    case 'wall':
    case 'relative':
      if (!curve || curve.t.length === 0) return null
      return between(curve.t, curve.steps, kind === 'wall' ? x : x + of.created)
    default:
      return null
  }
}

/** `to` where `from` is `at`, on straight lines between the points; the end points hold beyond them. */
function between(from: Float64Array, to: Float64Array, at: number): number {
  const i = indexAtOrBefore(from, at)
  if (i < 0) return to[0]!
  if (i + 1 >= from.length) return to[i]!
  const part = (at - from[i]!) / (from[i + 1]! - from[i]! || 1)
  return to[i]! + part * (to[i + 1]! - to[i]!)
}
