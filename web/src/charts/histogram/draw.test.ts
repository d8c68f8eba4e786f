import { expect, it } from 'vitest'
import { SvgPen } from '../pen'
import { barsOf, drawUpright, largestCount } from './draw'

const rows = { bins: 4, counts: [1, 0, 2, 5, 9, 9, 9, 9], lo: [-0.3, 0], hi: [0.5, 1] }

it('gives bars at the recorded edges with the recorded counts', () => {
  const bars = barsOf(rows, 0)
  expect(bars.map((b) => b.count)).toEqual([1, 0, 2, 5])
  // numpy.linspace(-0.3, 0.5, 5)
  const edges = [-0.3, -0.1, 0.1, 0.3, 0.5]
  bars.forEach((b, i) => {
    expect(b.low).toBeCloseTo(edges[i]!, 14)
    expect(b.high).toBeCloseTo(edges[i + 1]!, 14)
  })
  expect(bars[3]!.high).toBe(0.5)
  expect(largestCount(rows, 0)).toBe(5)
})

it('draws a bar for each bin that holds anything', () => {
  const pen = new SvgPen('sans')
  const values = { low: -0.3, high: 0.5, from: 0, to: 80 }
  drawUpright(pen, barsOf(rows, 0), values, { low: 0, high: 5, from: 100, to: 0 }, '#123456')
  const drawn = pen.document(80, 100)
  expect(drawn.match(/<rect /g)).toHaveLength(3)
  expect(drawn).toContain('<rect x="60.5" y="0" width="19" height="100"')
  expect(drawn).toContain('<rect x="40.5" y="60" width="19" height="40"')
})
