import { describe, expect, test } from 'vitest'
import type { RunDetail } from '../wire/types'
import { epochAt, epochPosition, NO_TIME, playSeconds, stepOfEpoch, stopFrom, timeOf, type RunTime } from './timeline'

const detail = (over: Record<string, unknown> = {}, row: Record<string, unknown> = {}) =>
  ({
    row: { status: 'finished', last_step: 95, total_epochs: null, metrics: {}, ...row },
    snapshots: [0, 10, 20, 30],
    epoch_steps: [9, 19, 29],
    epochs: [1, 2, 3],
    ...over,
  }) as unknown as RunDetail

describe('the time of a run', () => {
  test('reaches from the first to the last thing recorded', () => {
    const time = timeOf(detail())
    expect([time.first, time.last, time.end]).toEqual([0, 95, 95])
    expect(time.stops).toEqual([0, 10, 20, 30])
  })
  test('a run that trains ends where its epochs say', () => {
    const running = { status: 'running', last_step: 30, total_epochs: 10 }
    expect(timeOf(detail({}, running)).end).toBe(99)
    // Counted from zero the last epoch is 9.
    expect(timeOf(detail({ epochs: [0, 1, 2] }, running)).end).toBe(99)
  })
  test('without snapshots the epochs are the stops', () => {
    expect(timeOf(detail({ snapshots: [] })).stops).toEqual([9, 19, 29])
  })
  test('an empty run has a time that can be drawn', () => {
    const time = timeOf(detail({ snapshots: [], epoch_steps: [], epochs: [] }, { last_step: null }))
    expect([time.first, time.last, time.end]).toEqual([0, 0, 0])
    expect(timeOf(undefined)).toBe(NO_TIME)
  })
  test('the numbers of the machine are no steps of it', () => {
    const metrics = {
      'system/cpu': { first_step: 0, last_step: 500 },
      'rank1/system/cpu': { first_step: 0, last_step: 900 },
    }
    const bare = { snapshots: [], epoch_steps: [], epochs: [] }
    expect(timeOf(detail(bare, { last_step: null, metrics })).last).toBe(0)
    const loss = { first_step: 10, last_step: 20 }
    const time = timeOf(detail(bare, { last_step: 20, metrics: { ...metrics, loss } }))
    expect([time.first, time.last]).toEqual([10, 20])
  })
  test('epochs at steps, and back', () => {
    const time = timeOf(detail())
    expect(epochAt(time, 5)).toBe(1)
    expect(epochAt(time, 19)).toBe(2)
    expect(epochAt(time, 28)).toBe(2)
    expect(epochAt(NO_TIME, 3)).toBeNull()
    expect(epochPosition(time, 24)).toBeCloseTo(2.5)
    for (const step of [0, 9, 14, 29, 50]) expect(stepOfEpoch(time, epochPosition(time, step))).toBeCloseTo(step)
  })
})

describe('stops', () => {
  const time = timeOf(detail())
  test.each([
    [10, 1, 20],
    [10, -1, 0],
    [14, 1, 20],
    [14, -1, 10],
    [0, -1, 0],
    [30, 1, 30],
    [0, 10, 30],
    [25, -10, 0],
  ])('from %i by %i is %i', (step, by, to) => expect(stopFrom(time, step, by)).toBe(to))
  test('where there are none, a two-hundredth of the whole', () => {
    const bare: RunTime = { ...NO_TIME, last: 1000 }
    expect(stopFrom(bare, 500, 1)).toBe(505)
    expect(stopFrom(bare, 999, 10)).toBe(1000)
  })
  test('a play takes neither a blink nor for ever', () => {
    expect(playSeconds(time)).toBe(6)
    expect(playSeconds({ ...time, stops: Array.from({ length: 5000 }, (_, i) => i) })).toBe(30)
  })
})
