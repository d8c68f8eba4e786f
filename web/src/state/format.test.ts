import { describe, expect, test } from 'vitest'
import { formatAxis, formatClock, formatConfig, formatMoment, formatQuick, formatSeconds, formatSince } from './format'

test.each([
  [0, '0'],
  [-3, '−3'],
  [9720, '9,720'],
  [0.253123, '0.2531'],
  [1e-7, '1e−7'],
  [0.0006838, '6.84e−4'],
  [0.00123, '0.00123'],
  [0.1 + 0.2, '0.3'],
  [1234567.8, '1.23e6'],
  [Number.NaN, 'NaN'],
  [-Infinity, '−∞'],
  [null, '–'],
])('%d reads %s', (v, text) => expect(formatQuick(v)).toBe(text))

test.each([
  [0.84, '0.8 s'],
  [42.4, '42 s'],
  [185, '3 min 05 s'],
  [7805, '2 h 10 min'],
  [274_000, '3 d 4 h'],
  [null, '–'],
])('%d seconds read %s', (v, text) => expect(formatSeconds(v)).toBe(text))

test('time since has one unit', () => {
  expect([12, 300, 7200, 200_000].map(formatSince)).toEqual(['12 s', '5 min', '2 h', '2 d'])
})

test('a moment today is its clock only', () => {
  const now = new Date(2026, 10, 21, 12, 0).getTime() / 1000
  expect(formatMoment(now - 3600, now)).toBe('11:00')
  expect(formatMoment(now - 3 * 86400, now)).toBe('Nov 18 12:00')
})

describe('values of a config', () => {
  test.each([
    [0.001, '0.001'],
    ['adam', 'adam'],
    [[12, 12], '[12,12]'],
    [null, ''],
    [false, 'false'],
  ])('%j reads %s', (v, text) => expect(formatConfig(v)).toBe(text))
})

test.each([
  [0.25, 0.25, '0.25'],
  [0.5, 0.25, '0.5'],
  [0.12346, 0.00001, '0.12346'],
  [1234.5, 0.5, '1,234.5'],
  [-2, 1, '−2'],
  [2_500_000, 50_000, '2.5M'],
  [1_000_000.5, 0.5, '1,000,000.5'],
  [3e-9, 1e-9, '3e−9'],
])('%d with ticks %d apart reads %s', (v, gap, text) => expect(formatAxis(v, gap)).toBe(text))

test('clocks on an axis say as much as their distance needs', () => {
  const at = new Date(2026, 10, 21, 4, 5, 6, 250).getTime() / 1000
  expect([0.25, 1, 60, 86_400].map((gap) => formatClock(at, gap))).toEqual([
    '04:05:06.250',
    '04:05:06',
    '04:05',
    'Nov 21',
  ])
  expect(formatClock(new Date(2026, 10, 21).getTime() / 1000, 3600)).toBe('Nov 21')
})
