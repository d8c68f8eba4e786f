import { describe, expect, it } from 'vitest'
import { asNumber, barsOf, linesOf, matrixOf, type ChartFile } from './drawing'

const file = (chart: ChartFile['chart'], columns: string[], rows: ChartFile['rows']): ChartFile => ({
  chart,
  columns,
  rows,
})

describe('logged charts', () => {
  it('read numbers in every spelling', () => {
    expect([1, '2.5', true, { number: 'Infinity' }].map((c) => asNumber(c))).toEqual([1, 2.5, 1, Infinity])
    expect(asNumber('cat')).toBeNaN()
    expect(asNumber(null)).toBeNaN()
  })

  it('are lines by series', () => {
    const chart = file(
      { kind: 'line', title: '', x: 'a', y: 'b', series: 'c' },
      ['a', 'b', 'c'],
      [
        [0, 1, 'p'],
        [1, 2, 'p'],
        [0, 3, 'q'],
      ],
    )
    const { lines, ticks } = linesOf(chart)
    expect(ticks).toBeNull()
    expect(lines.map((l) => [l.name, l.points.map((p) => [p.x, p.y])])).toEqual([
      [
        'p',
        [
          [0, 1],
          [1, 2],
        ],
      ],
      ['q', [[0, 3]]],
    ])
  })

  it('count texts along an axis', () => {
    const chart = file(
      { kind: 'line', title: '', x: 'a', y: 'b' },
      ['a', 'b'],
      [
        ['mon', 1],
        ['tue', 2],
        ['mon', 3],
      ],
    )
    expect(linesOf(chart).ticks).toEqual(['mon', 'tue'])
    expect(linesOf(chart).lines[0]!.points.map((p) => p.x)).toEqual([0, 1, 0])
  })

  it('count values of a histogram', () => {
    const chart = file({ kind: 'histogram', title: '', x: 'a' }, ['a'], [[0], [1], [1], [10], [null]])
    const bars = barsOf(chart, 10)
    expect(bars.map((b) => b.value)).toEqual([1, 2, 0, 0, 0, 0, 0, 0, 0, 1])
    expect(barsOf(file({ kind: 'histogram', title: '', x: 'a' }, ['a'], [[5], [5]]))).toEqual([
      { name: '5.00', value: 2 },
    ])
  })

  it('are matrices, with holes where nothing was said', () => {
    const chart = file(
      { kind: 'matrix', title: '', x: 'p', y: 'a', value: 'n' },
      ['a', 'p', 'n'],
      [
        ['x', 'x', 4],
        ['x', 'y', 1],
        ['y', 'y', 5],
      ],
    )
    const { rows, columns, values } = matrixOf(chart)
    expect([rows, columns]).toEqual([
      ['x', 'y'],
      ['x', 'y'],
    ])
    expect([...values]).toEqual([4, 1, NaN, 5])
  })
})
