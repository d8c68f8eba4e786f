import { expect, it } from 'vitest'
import { lanes, type Span } from './lanes'

it('nests short arrows inside long ones and lets ends touch', () => {
  expect(
    lanes([
      { from: 0, to: 6 },
      { from: 1, to: 3 },
      { from: 3, to: 5 },
    ]),
  ).toEqual([1, 0, 0])
  expect(lanes([])).toEqual([])
})

it('never puts two overlapping arrows on one lane', () => {
  let seed = 7
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647
  const spans: Span[] = Array.from({ length: 200 }, () => ({
    from: Math.floor(random() * 90),
    to: Math.floor(random() * 90) + 1,
  }))
  const lane = lanes(spans)
  for (let i = 0; i < spans.length; i++)
    for (let j = 0; j < i; j++) {
      const [a, b] = [spans[i]!, spans[j]!]
      const apart = Math.max(a.from, a.to) <= Math.min(b.from, b.to) || Math.max(b.from, b.to) <= Math.min(a.from, a.to)
      if (lane[i] === lane[j]) expect(apart).toBe(true)
    }
})
