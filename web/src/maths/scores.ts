/**
 * How good answers are: confusion, precision and recall, curves with their areas, calibration. The same numbers as
 * `epochal.facts.scores` gives, from the same bytes; `tests/data/scores.json` holds both to scikit-learn's.
 */

/** Classes said of examples; the largest number of the type stands for no (finite) answer. */
export type Answers = Uint8Array | Uint32Array
export const NONE = (answers: Answers): number => (answers instanceof Uint8Array ? 0xff : 0xffffffff)

/** How many examples of each class (row) were said to be of each class (column), row by row. */
export function confusion(labels: Uint32Array, predicted: Answers, classes: number): Uint32Array {
  const counts = new Uint32Array(classes * classes)
  for (let i = 0; i < labels.length; i += 1) {
    const said = predicted[i]!
    if (said < classes) counts[labels[i]! * classes + said]! += 1
  }
  return counts
}

export type Share = 'counts' | 'rows' | 'columns'

/** Counts as shares of their row or column, NaN where that is empty; `counts` leaves them. */
export function shares(counts: Uint32Array, classes: number, by: Share): Float64Array {
  const found = Float64Array.from(counts)
  if (by === 'counts') return found
  const sums = new Float64Array(classes)
  for (let r = 0; r < classes; r += 1)
    for (let c = 0; c < classes; c += 1) sums[by === 'rows' ? r : c]! += counts[r * classes + c]!
  for (let r = 0; r < classes; r += 1)
    for (let c = 0; c < classes; c += 1) found[r * classes + c]! /= sums[by === 'rows' ? r : c]!
  return found
}

export interface ClassScores {
  precision: Float64Array
  recall: Float64Array
  f1: Float64Array
  support: Uint32Array
  /** How many were said to be of each class. */
  said: Uint32Array
  accuracy: number
}

/** Figures of each class out of a confusion matrix; NaN where there is nothing to divide by. */
export function classScores(counts: Uint32Array, classes: number): ClassScores {
  const support = new Uint32Array(classes)
  const said = new Uint32Array(classes)
  let [right, total] = [0, 0]
  for (let r = 0; r < classes; r += 1)
    for (let c = 0; c < classes; c += 1) {
      const n = counts[r * classes + c]!
      support[r]! += n
      said[c]! += n
      total += n
      if (r === c) right += n
    }
  const of = (divisor: (k: number) => number, times = 1) =>
    Float64Array.from({ length: classes }, (_, k) => (times * counts[k * classes + k]!) / divisor(k))
  return {
    precision: of((k) => said[k]!),
    recall: of((k) => support[k]!),
    f1: of((k) => said[k]! + support[k]!, 2),
    support,
    said,
    accuracy: right / total,
  }
}

/** The mean over those that are numbers. */
export function mean(values: Iterable<number>): number {
  let [sum, n] = [0, 0]
  for (const v of values)
    if (Number.isFinite(v)) {
      sum += v
      n += 1
    }
  return sum / n
}

export interface Curve {
  x: Float64Array
  y: Float64Array
  area: number
}

export interface Curves {
  /** True positive rate over false positive rate. */
  roc: Curve
  /** Precision over recall; the area is the average precision. */
  pr: Curve
}

/**
 * Both curves of one class against all others, a point for each different score.
 *
 * Scores are single precision and not negative, so their bits are in their order: bits and truth together are one
 * exact number to sort by, which typed arrays do many times faster than a comparison does.
 */
export function curvesOf(labels: Uint32Array, probabilities: Float32Array, classes: number, k: number): Curves {
  const n = labels.length
  const score = new Float32Array(1)
  const bits = new Uint32Array(score.buffer)
  const keys = new Float64Array(n)
  let used = 0
  let positives = 0
  for (let i = 0; i < n; i += 1) {
    score[0] = Math.abs(probabilities[i * classes + k]!)
    if (!Number.isFinite(score[0])) continue
    const yes = labels[i] === k ? 1 : 0
    positives += yes
    keys[used++] = bits[0]! * 2 + yes
  }
  const sorted = keys.subarray(0, used).sort()
  const negatives = used - positives
  const [fpr, tpr, recall, precision] = [[0], [0], [0], [1]]
  let [hits, seen, rocArea, prArea] = [0, 0, 0, 0]
  for (let i = used - 1; i >= 0; i -= 1) {
    hits += sorted[i]! % 2
    seen += 1
    if (i > 0 && Math.floor(sorted[i - 1]! / 2) === Math.floor(sorted[i]! / 2)) continue
    const [x, y, p] = [(seen - hits) / negatives, hits / positives, hits / seen]
    rocArea += ((x - fpr.at(-1)!) * (y + tpr.at(-1)!)) / 2
    prArea += (y - recall.at(-1)!) * p
    fpr.push(x)
    tpr.push(y)
    recall.push(y)
    precision.push(p)
  }
  return {
    roc: {
      x: Float64Array.from(fpr),
      y: Float64Array.from(tpr),
      area: positives && negatives ? rocArea : NaN,
    },
    pr: { x: Float64Array.from(recall), y: Float64Array.from(precision), area: positives ? prArea : NaN },
  }
}

export interface Calibration {
  bins: number
  confidence: Float64Array
  accuracy: Float64Array
  count: Uint32Array
  ece: number
}

/** How often answers are right where they are so sure, in bins (lo, hi] of equal width, the first with its lower end. */
export function calibration(
  labels: Uint32Array,
  predicted: Answers,
  probabilities: Float32Array,
  classes: number,
  bins = 15,
): Calibration {
  const sums = new Float64Array(bins)
  const right = new Float64Array(bins)
  const count = new Uint32Array(bins)
  for (let i = 0; i < labels.length; i += 1) {
    const said = predicted[i]!
    if (said >= classes) continue
    const sure = probabilities[i * classes + said]!
    // Edges are i / bins as numpy spaces them; the neighbours decide what rounding of the product may get wrong.
    let b = Math.min(bins - 1, Math.max(0, Math.ceil(sure * bins) - 1))
    if (b > 0 && sure <= edge(b, bins)) b -= 1
    else if (b < bins - 1 && sure > edge(b + 1, bins)) b += 1
    sums[b]! += sure
    right[b]! += said === labels[i] ? 1 : 0
    count[b]! += 1
  }
  const confidence = sums.map((sum, b) => sum / count[b]!)
  const accuracy = right.map((sum, b) => sum / count[b]!)
  const total = count.reduce((a, b) => a + b, 0)
  let ece = total ? 0 : NaN
  for (let b = 0; b < bins; b += 1) if (count[b]) ece += (Math.abs(confidence[b]! - accuracy[b]!) * count[b]!) / total
  return { bins, confidence, accuracy, count, ece }
}

const edge = (b: number, bins: number) => b * (1 / bins)

/** Points of a curve that differ on a screen of so many pixels; the ends always are there. */
export function thinned({ x, y }: Curve, pixels: number): [number, number][] {
  const kept: [number, number][] = []
  let last = ''
  for (let i = 0; i < x.length; i += 1) {
    const place = `${Math.round(x[i]! * pixels)},${Math.round(y[i]! * pixels)}`
    if (place === last && i < x.length - 1) continue
    last = place
    kept.push([x[i]!, y[i]!])
  }
  return kept
}
