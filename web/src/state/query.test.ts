import { describe, expect, test } from 'vitest'
import type { RunRow } from '../wire/types'
import { matcher } from './query'

const metric = { n: 10, last: 0.25, min: 0.2, max: 1, mean: 0.4, better: 'min' }
const run = {
  id: 'iris/20261121-1',
  project: 'iris',
  run_id: '20261121-1',
  name: 'Iris 12-12',
  status: 'finished',
  created: Date.parse('2026-11-21T03:00:00Z') / 1000,
  ended: null,
  seconds: 12,
  last_step: 1799,
  last_epoch: 149,
  group: 'sweep',
  parent: null,
  parent_step: null,
  tags: ['best', 'to do'],
  notes: '',
  archived: false,
  config: { lr: 0.03, optimizer: 'Adam', 'model/depth': 2, flag: true },
  metrics: { val_loss: metric, 'train/loss': { ...metric, last: null } },
} as unknown as RunRow

describe('a query', () => {
  test.each([
    ['', true],
    ['iris', true],
    ['IRIS sweep', true],
    ['iris moon', false],
    ['moon or iris', true],
    ['not moon', true],
    ['lr>0.01', true],
    ['lr > 0.03', false],
    ['lr>=0.03 and val_loss<0.3', true],
    ['lr=0.03', true],
    ['lr==3e-2', true],
    ['lr!=0.03', false],
    ['missing=1', false],
    ['missing!=1', true],
    ['val_loss<0.3', true],
    ['best.val_loss<=0.2', true],
    ['max.val_loss<1', false],
    ['last.val_loss=0.25', true],
    ['train/loss<1', false],
    ['optimizer=adam', true],
    ['optimizer:da', true],
    ['config.model.depth=2', true],
    ['model/depth=2', true],
    ['flag=true', true],
    ['status=finished', true],
    ['not status=finished', false],
    ['tag:best', true],
    ['tag:bes', false],
    ['tag!=best', false],
    ['tag="to do"', true],
    ['name:"12-12"', true],
    ['created>2026-11-20', true],
    ['created>2026-11-21', true],
    ['created>2026-11-22', false],
    ['(lr<0.01 or tag:best) and not archived=true', true],
    ['lr<0.01 or tag:best and moon', false],
  ])('%s → %s', (text, fits) => {
    const { test, problem } = matcher(text)
    expect(problem).toBeNull()
    expect(test(run)).toBe(fits)
  })

  test.each(['lr>', '(iris', 'iris)', '"iris', '>3', 'not'])('%s cannot be read; all runs stay', (text) => {
    const { test, problem } = matcher(text)
    expect(problem).toBeTruthy()
    expect(test(run)).toBe(true)
  })
})
