import { describe, expect, test } from 'vitest'
import known from '../../../tests/data/scores.json'
import { calibration, classScores, confusion, curvesOf, mean, NONE, shares, thinned } from './scores'

interface Known {
  classes: number
  labels: number[]
  probabilities: number[]
  confusion: number[]
  precision: (number | null)[]
  recall: (number | null)[]
  f1: (number | null)[]
  support: number[]
  accuracy: number
  curves: (null | Record<'fpr' | 'tpr' | 'precision' | 'recall', number[]> & Record<'auc' | 'ap', number>)[] // prettier-ignore
  share: number[]
  means: number[]
  counts: number[]
  ece: number
}
const cases = known.cases as unknown as Known[]

const near = (ours: ArrayLike<number>, theirs: readonly (number | null)[]) => {
  expect(ours.length).toBe(theirs.length)
  for (let i = 0; i < theirs.length; i += 1) {
    const expected = theirs[i]
    if (expected === null) expect(ours[i]).toBeNaN()
    else expect(Math.abs(ours[i]! - expected!)).toBeLessThan(1e-12)
  }
}

function made(known: Known) {
  const labels = Uint32Array.from(known.labels)
  const p = Float32Array.from(known.probabilities)
  const predicted = Uint8Array.from(known.labels, (_, i) => {
    const own = p.subarray(i * known.classes, (i + 1) * known.classes)
    return own.indexOf(Math.max(...own))
  })
  return { labels, p, predicted }
}

describe.each(cases.map((known, i) => [i, known] as const))('case %i of scikit-learn', (_, known) => {
  const { labels, p, predicted } = made(known)
  const counts = confusion(labels, predicted, known.classes)

  test('confusion and figures of classes', () => {
    expect([...counts]).toEqual(known.confusion)
    const found = classScores(counts, known.classes)
    near(found.precision, known.precision)
    near(found.recall, known.recall)
    expect([...found.support]).toEqual(known.support)
    expect(found.accuracy).toBeCloseTo(known.accuracy, 12)
    known.f1.forEach((f1, k) => {
      // Where a class is neither there nor said, one of the two calls F1 nothing and the other 0.
      if (f1 !== null && found.support[k]! + found.said[k]! > 0) expect(found.f1[k]).toBeCloseTo(f1, 12)
    })
  })

  test('curves and their areas', () => {
    for (let k = 0; k < known.classes; k += 1) {
      const theirs = known.curves[k]
      const ours = curvesOf(labels, p, known.classes, k)
      if (!theirs) {
        expect(ours.roc.area).toBeNaN()
        continue
      }
      near(ours.roc.x, theirs.fpr)
      near(ours.roc.y, theirs.tpr)
      near(ours.pr.x, theirs.recall)
      near(ours.pr.y, theirs.precision)
      near([ours.roc.area, ours.pr.area], [theirs.auc, theirs.ap])
    }
  })

  test('calibration', () => {
    const found = calibration(labels, predicted, p, known.classes)
    const some = [...found.count.keys()].filter((b) => found.count[b])
    expect([...found.count]).toEqual(known.counts)
    near(
      Float64Array.from(some, (b) => found.accuracy[b]!),
      known.share,
    )
    near(
      Float64Array.from(some, (b) => found.confidence[b]!),
      known.means,
    )
    near([found.ece], [known.ece])
  })
})

test('answers that are none count nowhere', () => {
  const predicted = Uint8Array.of(0, 255, 1)
  expect(NONE(predicted)).toBe(255)
  expect(NONE(new Uint32Array(0))).toBe(0xffffffff)
  expect([...confusion(Uint32Array.of(0, 0, 0), predicted, 2)]).toEqual([1, 1, 0, 0])
  const p = Float32Array.of(1, 0, NaN, NaN, 0, 1)
  expect(calibration(Uint32Array.of(0, 0, 0), predicted, p, 2).count.reduce((a, b) => a + b)).toBe(2)
  expect(curvesOf(Uint32Array.of(0, 0, 1), p, 2, 1).roc.area).toBe(1)
})

test('shares of rows and columns, and means of what is a number', () => {
  const counts = Uint32Array.of(3, 1, 0, 0)
  expect([...shares(counts, 2, 'rows')]).toEqual([0.75, 0.25, NaN, NaN])
  expect([...shares(counts, 2, 'columns')]).toEqual([1, 1, 0, 0])
  expect([...shares(counts, 2, 'counts')]).toEqual([3, 1, 0, 0])
  expect(mean([1, NaN, 2])).toBe(1.5)
})

test('edges of bins belong to the bin below, as they do in numpy', () => {
  // 1/15, 2/15, ... in single precision lie on either side of the edge in double; each must be put where numpy does.
  const values = Float32Array.from({ length: 15 }, (_, i) => (i + 1) / 15)
  const p = new Float32Array(30)
  values.forEach((v, i) => p.set([v, 0], i * 2))
  const found = calibration(new Uint32Array(15), new Uint8Array(15), p, 2)
  const expected = new Uint32Array(15)
  for (const v of values) expected[Math.max(0, Array.from({ length: 16 }, (_, b) => (b === 15 ? 1 : b * (1 / 15))).findIndex((e) => e >= v) - 1)]! += 1 // prettier-ignore
  expect([...found.count]).toEqual([...expected])
})

test('a thinned curve keeps its ends and what can be seen', () => {
  const x = Float64Array.from({ length: 1001 }, (_, i) => i / 1000)
  const points = thinned({ x, y: x, area: 0.5 }, 50)
  expect(points.length).toBeLessThan(60)
  expect(points[0]).toEqual([0, 0])
  expect(points.at(-1)).toEqual([1, 1])
})
