import { describe, expect, test } from 'vitest'
import type { RunRow } from '../../wire/types'
import { baseOf, customCharts, customParts, partsOf } from './parts'

const row = (names: string[], config: Record<string, unknown> = {}) =>
  ({ metrics: Object.fromEntries(names.map((n) => [n, {}])), config }) as unknown as RunRow

describe('processes of one training', () => {
  test.each([
    ['rank1/train/loss', 'train/loss'],
    ['ranks/mean/loss', 'loss'],
    ['ranks/other/loss', 'ranks/other/loss'],
    ['ranking/loss', 'ranking/loss'],
    ['loss', 'loss'],
  ])('%s belongs to %s', (name, base) => expect(baseOf(name)).toBe(base))

  test('are one mean with its band, and thin lines', () => {
    const run = row(['loss', 'rank10/loss', 'rank2/loss', 'ranks/mean/loss', 'ranks/min/loss', 'ranks/max/loss', 'lr'])
    const parts = partsOf(run, 'loss')
    expect(parts[0]).toEqual({ name: 'ranks/mean/loss', label: '', band: ['ranks/min/loss', 'ranks/max/loss'] })
    expect(parts.slice(1).map((p) => [p.name, p.label, p.thin])).toEqual([
      ['loss', 'rank 0', true],
      ['rank2/loss', 'rank 2', true],
      ['rank10/loss', 'rank 10', true],
    ])
    expect(partsOf(run, 'lr')).toEqual([{ name: 'lr', label: '' }])
  })

  test('are lines beside each other where nothing was reduced', () => {
    expect(partsOf(row(['loss', 'rank1/loss']), 'loss').map((p) => p.label)).toEqual(['rank 0', 'rank 1'])
  })
})

describe('charts that were asked for', () => {
  const config = {
    'custom_scalars/losses/both/kind': 'multiline',
    'custom_scalars/losses/both/series': ['a', 'val/.*'],
    'custom_scalars/losses/a/b/kind': 'margin',
    'custom_scalars/losses/a/b/series': ['a', 'low', 'high'],
    lr: 1,
  }
  const run = row(['a', 'val/x', 'val/y', 'low', 'high'], config)
  const charts = customCharts([run, run])

  test('come from the settings', () => {
    expect(charts.map((c) => [c.category, c.title, c.kind])).toEqual([
      ['losses', 'both', 'multiline'],
      ['losses', 'a/b', 'margin'],
    ])
  })
  test('draw what they name', () => {
    expect(customParts(run, charts[0]!).map((p) => p.name)).toEqual(['a', 'val/x', 'val/y'])
    expect(customParts(run, charts[1]!)).toEqual([{ name: 'a', label: '', band: ['low', 'high'] }])
    expect(customParts(row(['b']), charts[1]!)).toEqual([])
  })
})
