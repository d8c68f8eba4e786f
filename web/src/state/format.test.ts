import { describe, expect, test } from 'vitest'
import { formatConfig, formatMoment, formatQuick, formatSeconds, formatSince } from './format'

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
