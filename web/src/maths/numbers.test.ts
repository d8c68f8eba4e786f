import { describe, expect, it } from 'vitest'
import {
  formatBytes,
  formatCompact,
  formatCount,
  formatExact,
  formatPercent,
  formatShape,
  formatSigned,
  formatTicks,
  formatValue,
} from './numbers'

describe('formatValue', () => {
  it.each([
    [0.25314, '0.2531'],
    [-1.2, '−1.2'],
    [0, '0'],
    [-0, '0'],
    [12345.678, '12,346'],
    [3.4e-7, '3.4e−7'],
    [-2.5e12, '−2.5e12'],
    [Number.NaN, 'NaN'],
    [Infinity, '+∞'],
    [-Infinity, '−∞'],
    [999.96, '1,000'],
    [100, '100'],
  ])('%s is written %s', (v, text) => expect(formatValue(v)).toBe(text))
})

describe('formatExact', () => {
  it.each([
    [Math.fround(0.1), '0.1'],
    [Math.fround(-0.30000001), '−0.3'],
    [Math.fround(1 / 3), '0.33333334'],
    [0.1, '0.1'],
    [1e-45, '1e−45'],
  ])('%s is written %s', (v, text) => expect(formatExact(v)).toBe(text))

  it('always reads back as the same float32', () => {
    let seed = 1
    for (let i = 0; i < 2000; i++) {
      seed = (seed * 48271) % 2147483647
      const v = Math.fround((seed / 2147483647 - 0.5) * 10 ** ((i % 60) - 30))
      expect(Math.fround(Number(formatExact(v).replaceAll('−', '-')))).toBe(v)
    }
  })
})

describe('other numbers', () => {
  it('are short where there is little room', () => {
    expect(formatCompact(7850)).toBe('7,850')
    expect(formatCompact(101_770)).toBe('102\u202fk')
    expect(formatCompact(25_557_032)).toBe('25.6\u202fM')
    expect([1020, 159_000].map(formatBytes)).toEqual(['1,020\u202fB', '159\u202fkB'])
    expect(formatCount(100352)).toBe('100,352')
    expect(formatPercent(0.0312)).toBe('3.12\u202f%')
    expect(formatSigned(0.8)).toBe('+0.8')
    expect(formatSigned(-0.8)).toBe('−0.8')
    expect(formatSigned(0)).toBe('0')
    expect(formatShape([-1, 3, 1024])).toBe('n × 3 × 1,024')
  })

  it('label ticks with the same decimals', () => {
    expect(formatTicks([-0.5, 0, 0.5, 1])).toEqual(['−0.5', '0.0', '0.5', '1.0'])
    expect(formatTicks([0, 0.25, 0.5])).toEqual(['0.00', '0.25', '0.50'])
    expect(formatTicks([0, 500, 1000])).toEqual(['0', '500', '1,000'])
    expect(formatTicks([0, 0.0002, 0.0004])).toEqual(['0', '2e−4', '4e−4'])
    expect(formatTicks([0.0002, 0.00025])).toEqual(['2e−4', '2.5e−4'])
  })
})
