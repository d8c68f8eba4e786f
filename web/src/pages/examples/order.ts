/** Which examples are shown and in which order; pure, and quick enough to be done anew at every step of the playhead. */
import type { Answers } from '../../maths/scores'

export const WHICH = ['all', 'right', 'wrong', 'flipped', 'forgotten', 'never', 'differs', 'better', 'worse'] as const
export type Which = (typeof WHICH)[number]
/** Those that are told only where something is beside. */
export const BESIDE: ReadonlySet<Which> = new Set<Which>(['differs', 'better', 'worse'])
export const ORDERS = ['number', 'least', 'most', 'loss', 'flips', 'truth', 'said'] as const
export type Order = (typeof ORDERS)[number]

/** Whose prediction is asked for: this one's (A), that of what is beside it (B), or that of only one of the two. */
export const BY = ['a', 'b', 'one'] as const
export type By = (typeof BY)[number]

/** What is known of the examples of one set, at one of its steps. */
export interface Moment {
  classes: number
  predicted: Answers
  truth: Uint32Array | null
  /** All confidences [N, C], null while they are on their way. */
  probabilities: Float32Array | null
  /** What was said at the step since which flips are looked for. */
  since: Answers
  /** Place of the first step at which each example was right; past the end for those that never were. */
  firstRight: Uint32Array | null
  /** How often what was said of each example changed so far. */
  flips: Uint16Array | null
  /** What another run, or this one at another step, says of the same examples; null where none is beside. */
  other: Answers | null
  /** Place of this step among the set's. */
  place: number
}

export interface Wanted {
  which: Which
  /** Only examples of this class. */
  truth: number | null
  /** Only examples that are said to be of this class, */
  said: number | null
  /** by this one, by what is beside it, or by one of the two alone. */
  by?: By
  order: Order
}

/** Place of the first step at which each example was right; `answers.length` for those that never were. */
export function firstRight(answers: readonly Answers[], truth: Uint32Array): Uint32Array {
  const first = new Uint32Array(truth.length).fill(answers.length)
  for (let t = answers.length - 1; t >= 0; t -= 1) {
    const said = answers[t]!
    for (let i = 0; i < truth.length; i += 1) if (said[i] === truth[i]) first[i] = t
  }
  return first
}

/** How often what was said of each example changed up to a step. */
export function flipsUntil(answers: readonly Answers[], place: number): Uint16Array {
  const flips = new Uint16Array(answers[0]?.length ?? 0)
  for (let t = 1; t <= place; t += 1) {
    const [before, now] = [answers[t - 1]!, answers[t]!]
    for (let i = 0; i < flips.length; i += 1) if (before[i] !== now[i]) flips[i]! += 1
  }
  return flips
}

const TESTS: Record<Which, (m: Moment, i: number) => boolean> = {
  all: () => true,
  right: (m, i) => m.predicted[i] === m.truth?.[i],
  wrong: (m, i) => m.truth !== null && m.predicted[i] !== m.truth[i],
  flipped: (m, i) => m.predicted[i] !== m.since[i],
  forgotten: (m, i) => m.truth !== null && m.predicted[i] !== m.truth[i] && m.firstRight![i]! < m.place,
  never: (m, i) => m.truth !== null && m.firstRight![i]! > m.place,
  differs: (m, i) => m.other !== null && m.predicted[i] !== m.other[i],
  better: (m, i) => m.other !== null && m.predicted[i] === m.truth?.[i] && m.predicted[i] !== m.other[i],
  worse: (m, i) => m.other !== null && m.other[i] === m.truth?.[i] && m.predicted[i] !== m.other[i],
}

/** How many examples each choice would show. */
export function counted(m: Moment): Record<Which, number> {
  const counts = { all: 0, right: 0, wrong: 0, flipped: 0, forgotten: 0, never: 0, differs: 0, better: 0, worse: 0 }
  for (let i = 0; i < m.predicted.length; i += 1) for (const which of WHICH) if (TESTS[which](m, i)) counts[which] += 1
  return counts
}

/** The numbers of the examples that are wanted, in the order that is wanted; equals by number. */
export function ordered(m: Moment, wanted: Wanted): Uint32Array {
  const test = TESTS[wanted.which]
  const found: number[] = []
  for (let i = 0; i < m.predicted.length; i += 1) {
    if (wanted.truth !== null && m.truth?.[i] !== wanted.truth) continue
    if (wanted.said !== null && !isSaid(m, i, wanted.said, wanted.by ?? 'a')) continue
    if (test(m, i)) found.push(i)
  }
  const key = keyOf(m, wanted.order)
  if (!key) return Uint32Array.from(found)
  return sorted(found, key)
}

function isSaid(m: Moment, i: number, said: number, by: By): boolean {
  const [ours, theirs] = [m.predicted[i] === said, m.other?.[i] === said]
  if (by === 'b') return theirs
  return by === 'one' ? ours !== theirs : ours
}

/** So many examples have numbers that fit beside a key of 32 bits in one exact number. */
const PACKED = 1 << 20
const one = new Float32Array(1)
const bits = new Uint32Array(one.buffer)

/**
 * Numbers sorted by key, the smallest first, equals by number; what is not a number comes last.
 *
 * Keys are single precision. Turned into bits that are in their order (all of them for negative ones, else the sign alone)
 * and put before the number they are one exact double, which typed arrays sort many times faster than a comparison does.
 */
function sorted(found: readonly number[], key: (i: number) => number): Uint32Array {
  if (found.some((i) => i >= PACKED)) {
    const keys = new Map(found.map((i) => [i, key(i)]))
    const rank = (v: number) => (Number.isNaN(v) ? Infinity : v)
    return Uint32Array.from(found.toSorted((a, b) => rank(keys.get(a)!) - rank(keys.get(b)!) || a - b))
  }
  const packed = Float64Array.from(found, (i) => {
    one[0] = key(i) + 0 // no minus before a zero
    const order = Number.isNaN(one[0]) ? 0xffffffff : bits[0]! >>> 31 ? ~bits[0]! >>> 0 : bits[0]! + 0x80000000
    return order * PACKED + i
  })
  return Uint32Array.from(packed.sort(), (v) => v % PACKED)
}

/** What to sort by, the smallest first; null where the order is that of the numbers (or the confidences are not there). */
function keyOf(m: Moment, order: Order): ((i: number) => number) | null {
  const p = m.probabilities
  const confidence = (i: number) => p?.[i * m.classes + m.predicted[i]!] ?? NaN
  switch (order) {
    case 'least':
      return p && confidence
    case 'most':
      return p && ((i) => -confidence(i))
    case 'loss':
      return p && m.truth && ((i) => p[i * m.classes + m.truth![i]!]!)
    case 'flips':
      return m.flips && ((i) => -m.flips![i]!)
    case 'truth':
      return m.truth && ((i) => m.truth![i]!)
    case 'said':
      return (i) => m.predicted[i]!
    default:
      return null
  }
}

/** Place of the last step at or before `step` among growing `steps`; the first one where all come later. */
export function placeAt(steps: ArrayLike<number>, step: number): number {
  let [low, high] = [0, steps.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (steps[middle]! <= step) low = middle + 1
    else high = middle
  }
  return Math.max(0, low - 1)
}
