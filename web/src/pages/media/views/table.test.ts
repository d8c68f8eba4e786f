import { describe, expect, it } from 'vitest'
import { cellText, sorted, type Cell } from './table'

describe('tables', () => {
  const rows: Cell[][] = [[3], [null], ['b'], [1], ['a'], [2]]

  it('are sorted by numbers, then texts, empty cells last', () => {
    expect(sorted(rows, 0, false)).toEqual([3, 5, 0, 4, 2, 1])
    expect(sorted(rows, 0, true)).toEqual([0, 5, 3, 2, 4, 1])
  })

  it('keep the order of equal cells', () => {
    expect(sorted([[1], [1], [0]], 0, false)).toEqual([2, 0, 1])
  })

  it('say cells as text', () => {
    expect([0.1 + 0.2, 5, null, true, 'x', 1e-9].map((c) => cellText(c as Cell))).toEqual([
      '0.3',
      '5',
      '',
      'true',
      'x',
      '1.000e-9',
    ])
    expect(cellText({ number: 'NaN' })).toBe('NaN')
  })
})
