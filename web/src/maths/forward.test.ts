import { expect, test } from 'vitest'
import { classCorrelations, forward, isKnown, largestPlaces } from './forward'

test('a chain of two layers, calculated by hand', () => {
  const first = { weight: [1, -1, 2, 0.5], bias: [0, -1], units: 2, inputs: 2, activation: 'ReLU' }
  const last = { weight: [1, 1], bias: null, units: 1, inputs: 2, activation: null }
  // (1, 2): relu(-1), relu(2); (3, 1): relu(2), relu(5.5)
  const x = Float32Array.from([1, 2, 3, 1])
  expect(Array.from(forward([first], x, 2))).toEqual([0, 2, 2, 5.5])
  expect(Array.from(forward([first, last], x, 2))).toEqual([2, 7.5])
})

test('functions', () => {
  const run = (activation: string) =>
    Array.from(
      forward([{ weight: [1, 0, 0, 1], bias: null, units: 2, inputs: 2, activation }], Float32Array.from([-2, 1]), 1),
    )
  const close = (found: number[], expected: number[]) => expected.forEach((v, i) => expect(found[i]).toBeCloseTo(v, 6))
  close(run('sigmoid'), [1 / (1 + Math.exp(2)), 1 / (1 + Math.exp(-1))])
  close(run('Tanh'), [Math.tanh(-2), Math.tanh(1)])
  close(run('leaky_relu'), [-0.02, 1])
  const sum = Math.exp(-2) + Math.exp(1)
  close(run('Softmax'), [Math.exp(-2) / sum, Math.exp(1) / sum])
  close(run('LogSoftmax'), [-2 - Math.log(sum), 1 - Math.log(sum)])
  expect([isKnown(null), isKnown('GELU'), isKnown('toString')]).toEqual([true, false, false])
})

test('the likeliest class', () => {
  expect(Array.from(largestPlaces(Float32Array.from([1, 3, 2, 5, 5, 1]), 3))).toEqual([1, 0])
})

test('correlation with classes is that of a second calculation', () => {
  const values = Float32Array.from([0.9, 0.8, 0.2, 0.1, 0.4])
  const labels = [0, 0, 1, 1, 2]
  const pearson = (a: number[], b: number[]) => {
    const mean = (v: number[]) => v.reduce((s, x) => s + x) / v.length
    const [ma, mb] = [mean(a), mean(b)]
    const top = a.reduce((s, x, i) => s + (x - ma) * (b[i]! - mb), 0)
    return top / Math.sqrt(a.reduce((s, x) => s + (x - ma) ** 2, 0) * b.reduce((s, x) => s + (x - mb) ** 2, 0))
  }
  const found = classCorrelations(values, labels, 4)
  for (const c of [0, 1, 2])
    expect(found[c]).toBeCloseTo(
      pearson(
        [...values],
        labels.map((l) => Number(l === c)),
      ),
      6,
    )
  expect(found[3]).toBeNaN()
  expect(Array.from(classCorrelations(Float32Array.from([1, 1]), [0, 1], 2))).toEqual([NaN, NaN])
})
