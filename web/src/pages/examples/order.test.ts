import { describe, expect, test } from 'vitest'
import type { ExampleSet } from '../../wire/predictions'
import { figure, percent } from '../../maths/confidence'
import { barsOf, likeliest } from './bars'
import { counted, firstRight, flipsUntil, ordered, placeAt, type Moment, type Which } from './order'
import { sameExamples } from './beside'
import { confusedPairs } from './pairs'
import { stacked } from './stack'

// Six examples of class 0 at four steps: learned and kept, forgotten, never learned, forgotten and learned again, ...
const ANSWERS = [
  Uint8Array.of(1, 1, 2, 1, 0, 255),
  Uint8Array.of(0, 0, 1, 0, 0, 1),
  Uint8Array.of(0, 1, 1, 1, 0, 1),
  Uint8Array.of(0, 2, 1, 0, 0, 1),
]
const TRUTH = new Uint32Array(6)
// Confidences of the last step: example i says its answer with 0.4 + i / 10.
const P = Float32Array.from(
  [...ANSWERS[3]!].flatMap((said, i) => [0, 1, 2].map((k) => (k === said ? 0.4 + i / 10 : (0.6 - i / 10) / 2))),
)

const moment = (place: number, since = 0): Moment => ({
  classes: 3,
  predicted: ANSWERS[place]!,
  truth: TRUTH,
  probabilities: place === 3 ? P : null,
  since: ANSWERS[since]!,
  firstRight: firstRight(ANSWERS, TRUTH),
  other: null,
  flips: flipsUntil(ANSWERS, place),
  place,
})
const shown = (place: number, which: Which, since = 0) => [
  ...ordered(moment(place, since), { which, truth: null, said: null, order: 'number' }),
]

describe('which examples are shown', () => {
  test('those counted by hand', () => {
    expect([...firstRight(ANSWERS, TRUTH)]).toEqual([1, 1, 4, 1, 0, 4])
    expect(shown(3, 'wrong')).toEqual([1, 2, 5])
    expect(shown(3, 'right')).toEqual([0, 3, 4])
    expect(shown(3, 'forgotten')).toEqual([1])
    expect(shown(2, 'forgotten')).toEqual([1, 3])
    expect(shown(0, 'forgotten')).toEqual([])
    expect(shown(0, 'never')).toEqual([0, 1, 2, 3, 5])
    expect(shown(3, 'never')).toEqual([2, 5])
    expect(shown(3, 'flipped')).toEqual([0, 1, 2, 3, 5])
    expect(shown(3, 'flipped', 2)).toEqual([1, 3])
    expect(counted(moment(3))).toMatchObject({ all: 6, right: 3, wrong: 3, flipped: 5, forgotten: 1, never: 2 })
    expect(counted(moment(3))).toMatchObject({ differs: 0, better: 0, worse: 0 })
  })

  test('those of one class, or said to be of one', () => {
    const wanted = { which: 'all', order: 'number' } as const
    expect([...ordered(moment(3), { ...wanted, truth: null, said: 1 })]).toEqual([2, 5])
    expect([...ordered(moment(3), { ...wanted, truth: 1, said: null })]).toEqual([])
    expect([...ordered(moment(3), { ...wanted, truth: 0, said: 0 })]).toEqual([0, 3, 4])
  })

  test('beside another run: where they differ, and which of the two is right', () => {
    const both = { ...moment(3), other: Uint8Array.of(0, 0, 2, 1, 0, 255) } // ours: 0, 2, 1, 0, 0, 1
    const of = (which: Which) => [...ordered(both, { which, truth: null, said: null, order: 'number' })]
    expect(of('differs')).toEqual([1, 2, 3, 5])
    expect(of('better')).toEqual([3])
    expect(of('worse')).toEqual([1])
    expect(counted(both)).toMatchObject({ differs: 4, better: 1, worse: 1 })
  })

  test('said by this one, by the one beside it, or by one of the two alone', () => {
    const both = { ...moment(3), other: Uint8Array.of(0, 0, 2, 1, 0, 255) } // ours: 0, 2, 1, 0, 0, 1
    const of = (by: 'a' | 'b' | 'one', said: number) => [
      ...ordered(both, { which: 'all', truth: null, said, by, order: 'number' }),
    ]
    expect([of('a', 1), of('b', 1), of('one', 1)]).toEqual([[2, 5], [3], [2, 3, 5]])
    expect([of('a', 0), of('b', 0), of('one', 0)]).toEqual([
      [0, 3, 4],
      [0, 1, 4],
      [1, 3],
    ])
  })

  test('the same examples are the same answers and the same file', () => {
    const set = { examples: 2, classes: 2, truth: Uint32Array.of(0, 1), inputs_blob: 'x' } as ExampleSet
    expect(sameExamples(set, { ...set, truth: Uint32Array.of(0, 1) })).toBe(true)
    expect(sameExamples(set, { ...set, truth: Uint32Array.of(1, 1) })).toBe(false)
    expect(sameExamples(set, { ...set, inputs_blob: 'y' })).toBe(false)
    expect(sameExamples({ ...set, truth: null }, { ...set, truth: null })).toBe(true)
    expect(sameExamples({ ...set, truth: null, inputs_blob: '' }, { ...set, truth: null, inputs_blob: '' })).toBe(false)
    expect(sameExamples(set, { ...set, truth: null })).toBe(false)
  })

  test('without right answers nothing is right or wrong', () => {
    const bare = { ...moment(3), truth: null, firstRight: null }
    expect(counted(bare)).toMatchObject({ all: 6, right: 0, wrong: 0, forgotten: 0, never: 0, flipped: 5 })
  })
})

describe('in which order', () => {
  const by = (order: 'least' | 'most' | 'loss' | 'flips' | 'said', m = moment(3)) => [
    ...ordered(m, { which: 'all', truth: null, said: null, order }),
  ]
  test('by confidence, loss and flips', () => {
    expect(by('least')).toEqual([0, 1, 2, 3, 4, 5])
    expect(by('most')).toEqual([5, 4, 3, 2, 1, 0])
    // The confidence in class 0: 0.4, 0.25, 0.2, 0.7, 0.8, 0.05.
    expect(by('loss')).toEqual([5, 2, 1, 0, 3, 4])
    expect([...flipsUntil(ANSWERS, 3)]).toEqual([1, 3, 1, 3, 0, 1])
    expect(by('flips')).toEqual([1, 3, 0, 2, 5, 4])
    expect(by('said')).toEqual([0, 3, 4, 2, 5, 1])
  })
  test('by number as long as the confidences are on their way; what is no number comes last', () => {
    expect(by('loss', moment(2))).toEqual([0, 1, 2, 3, 4, 5])
    const odd = { ...moment(3), probabilities: P.map((v, i) => (i < 6 ? NaN : v)) }
    expect(by('loss', odd)).toEqual([5, 2, 3, 4, 0, 1])
  })
  test('the quick way to sort is the slow one', () => {
    const n = 3000
    const p = Float32Array.from({ length: n }, (_, i) => (i % 97 === 0 ? NaN : i % 5 === 0 ? 0.25 : Math.sin(i) ** 2))
    const bare = { ...moment(3), classes: 1, predicted: new Uint8Array(n), truth: new Uint32Array(n), since: new Uint8Array(n), probabilities: p, flips: null } // prettier-ignore
    const slow = (sign: number) =>
      Array.from({ length: n }, (_, i) => i).sort((a, b) => {
        const [x, y] = [sign * p[a]!, sign * p[b]!]
        if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b
        return x - y || a - b
      })
    expect(by('least', bare)).toEqual(slow(1))
    expect(by('most', bare)).toEqual(slow(-1))
  })
  test('ten thousand examples in a moment', () => {
    const n = 10_000
    const p = Float32Array.from({ length: n * 10 }, (_, i) => ((i * 7919) % 10007) / 10007)
    const many = { ...moment(3), classes: 10, predicted: new Uint8Array(n), truth: new Uint32Array(n), since: new Uint8Array(n) } // prettier-ignore
    const found = ordered(
      { ...many, probabilities: p, firstRight: new Uint32Array(n), flips: null },
      { which: 'right', truth: 0, said: 0, order: 'loss' },
    )
    for (let i = 1; i < n; i += 1) expect(p[found[i]! * 10]! >= p[found[i - 1]! * 10]!).toBe(true)
  })
})

test('the step at the playhead is the last one before it', () => {
  const steps = Float64Array.of(0, 10, 20)
  expect([-5, 0, 9, 10, 15, 20, 99].map((step) => placeAt(steps, step))).toEqual([0, 0, 0, 1, 1, 2, 2])
})

test('bars: all classes, columns, or those that count', () => {
  expect(barsOf([0.2, 0.5, 0.3], 0, false)).toEqual({ columns: false, rows: [0, 1, 2], more: 0 })
  expect(barsOf(new Float32Array(10), 3, false).columns).toBe(true)
  const many = Float32Array.from({ length: 100 }, (_, k) => k / 5000)
  expect(barsOf(many, 7, false)).toEqual({ columns: false, rows: [99, 98, 97, 7], more: 96 })
  expect(barsOf(many, 98, false).rows).toEqual([99, 98, 97, 96])
  expect(barsOf(new Float32Array(10), 3, true).rows).toHaveLength(10)
  expect(likeliest([1, 3, 3, 2], 3)).toEqual([1, 2, 3])
})

test('numbers are not rounded to what they are not', () => {
  expect([0, 0.004, 0.25, 0.996, 0.9999, 1, NaN].map(percent)).toEqual(
    ['0 %', '<1 %', '25 %', '99.6 %', '>99.9 %', '100 %', '–'],
  ) // prettier-ignore
  expect([0, 0.5, 0.00012, NaN].map((v) => figure(v))).toEqual(['0.000', '0.500', '1.2e-4', '–'])
})

test('pairs of classes that are confused', () => {
  const counts = Uint32Array.of(9, 2, 0, 5, 9, 1, 0, 2, 9)
  expect(confusedPairs(counts, 3, 3)).toEqual([
    { truth: 1, said: 0, count: 5 },
    { truth: 0, said: 1, count: 2 },
    { truth: 2, said: 1, count: 2 },
  ])
})

test('stacked areas fill the height, small classes together', () => {
  const film = { steps: Float64Array.of(0, 1), classes: 4, probabilities: Float32Array.of(0.5, 0.25, 0.125, 0.125, 0, 0, 0.25, 0.75) } // prettier-ignore
  const all = stacked(film, 4)
  expect(all.map((layer) => layer.k)).toEqual([0, 1, 2, 3])
  expect([...all[3]!.top]).toEqual([1, 1])
  expect([...all[1]!.bottom]).toEqual([0.5, 0])
  const few = stacked(film, 3)
  expect(few.map((layer) => layer.k)).toEqual([0, 3, null])
  expect([...few[2]!.top]).toEqual([1, 1])
  expect([...few[2]!.bottom]).toEqual([0.625, 0.75])
})
