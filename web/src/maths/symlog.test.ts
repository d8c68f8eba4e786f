import { expect, it } from 'vitest'
import { shareOut, shareOutEdges } from './histogram'
import { symlog, symlogTicks, thresholdOf, unsymlog } from './symlog'

it('comes back from its place, keeps signs and zero', () => {
  for (const v of [-100, -1e-9, 0, 0.3, 1e6]) expect(unsymlog(symlog(v, 0.01), 0.01)).toBeCloseTo(v, 6)
  expect(symlog(0, 1)).toBe(0)
  expect(symlog(-2, 1)).toBe(-symlog(2, 1))
  // Linear near zero, logarithmic far from it.
  expect(symlog(1e-6, 1) / symlog(5e-7, 1)).toBeCloseTo(2, 5)
  expect(symlog(1e6, 1) - symlog(1e5, 1)).toBeCloseTo(Math.log(10), 4)
})

it('has ticks at powers of ten and zero', () => {
  expect(symlogTicks(-0.5, 20, 0.001, 20)).toEqual([-0.1, -0.01, 0, 0.01, 0.1, 1, 10])
  expect(symlogTicks(0, 200, 0.5, 20)).toEqual([0, 1, 10, 100])
  expect(symlogTicks(-1e6, 1e6, 1e-6, 5).length).toBeLessThanOrEqual(7)
})

const rows = { bins: 4, counts: [1, 3, 0, 4, 1, 1, 1, 1], lo: [0, -1], hi: [4, 1] }

it('shares counts out over cells of any widths as over equal ones', () => {
  const equal = new Float64Array(7)
  shareOut(rows, 0, -1, 5, equal)
  const any = new Float64Array(7)
  shareOutEdges(
    rows,
    0,
    Float64Array.from({ length: 8 }, (_, i) => -1 + (i * 6) / 7),
    any,
  )
  any.forEach((v, i) => expect(v).toBeCloseTo(equal[i]!, 10))
  const odd = new Float64Array(3)
  shareOutEdges(rows, 0, Float64Array.from([0.5, 1, 1.5, 10]), odd)
  expect([...odd]).toEqual([0.5, 1.5, 5.5])
})

it('finds where the narrow rows end', () => {
  // Both rows evenly filled: 80 % of 2 is 1.6, of 4 about 3.
  expect(thresholdOf(rows, 2)).toBeCloseTo(1.6 / 8, 10)
})
