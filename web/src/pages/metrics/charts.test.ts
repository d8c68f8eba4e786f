import { describe, expect, test } from 'vitest'
import type { Line } from '../../charts/curve/lines'
import type { RunRow } from '../../wire/types'
import { groupsOf, meanLines, splice } from './charts'
import { stepOfX, xOfStep, xValues, type XKind, type XSource } from './xaxis'

const f = (...v: number[]) => Float64Array.from(v)
const curve = (steps: number[], v: number[], t = steps.map((s) => 1000 + s / 10)) => ({
  name: 'a',
  steps: f(...steps),
  t: f(...t),
  v: f(...v),
})

describe('groups', () => {
  const row = (...names: string[]) => ({ metrics: Object.fromEntries(names.map((n) => [n, {}])) }) as unknown as RunRow
  test('by prefix, the machine last, loss first, epoch left out', () => {
    const groups = groupsOf(
      [row('lr', 'val_loss', 'epoch', 'system/cpu'), row('loss', 'train/x', 'train/loss')],
      () => true,
    )
    expect(groups).toEqual([
      { prefix: '', names: ['loss', 'val_loss', 'lr'] },
      { prefix: 'train', names: ['train/loss', 'train/x'] },
      { prefix: 'system', names: ['system/cpu'] },
    ])
  })
})

describe('x', () => {
  const of: XSource = {
    created: 990,
    epochs: { epochSteps: [0, 10, 20], epochs: [0, 1, 2] },
    metric: curve([0, 10], [5, 7]),
  }
  const c = curve([0, 5, 10, 20], [1, 2, 3, 4])
  test.each([
    ['step', [0, 5, 10, 20]],
    ['epoch', [0, 0.5, 1, 2]],
    ['relative', [10, 10.5, 11, 12]],
    ['wall', [1000, 1000.5, 1001, 1002]],
    ['metric:m', [5, 5, 7, 7]],
  ] as [XKind, number[]][])('%s', (kind, x) => expect([...xValues(kind, c, of)!]).toEqual(x))

  test.each(['step', 'epoch', 'relative', 'wall'] as XKind[])('%s goes there and back', (kind) => {
    for (const step of [0, 3, 10, 17]) {
      expect(stepOfX(kind, xOfStep(kind, step, c, of), c, of)).toBeCloseTo(step)
    }
  })
  test('a run without epochs has no such x', () => {
    expect(xValues('epoch', c, { ...of, epochs: null })).toBeNull()
    expect(stepOfX('metric:m', 5, c, of)).toBeNull()
  })
})

test('a finer stretch takes the place of the coarse one', () => {
  const whole = curve([0, 10, 20, 30], [0, 1, 2, 3])
  expect([...splice(whole, curve([10, 12, 14, 20], [1, 8, 9, 2])).steps]).toEqual([0, 10, 12, 14, 20, 30])
  expect(splice(whole, curve([], []))).toBe(whole)
})

test('the mean of a group, where its runs run', () => {
  const line = (id: string, x: number[], y: number[]): Line => ({
    id,
    label: id,
    colour: '#000',
    main: false,
    sorted: true,
    x: f(...x),
    y: f(...y),
    raw: null,
  })
  const runs = ['a', 'b', 'c'].map((id) => ({ id, config: { lr: id === 'c' ? 2 : 1 } }) as unknown as RunRow)
  const lines = [line('a', [0, 1, 2], [1, 1, 1]), line('b', [0, 1], [3, 3]), line('c', [0, 1], [9, 9])]
  const [one, two] = meanLines(lines, runs, 'lr')
  expect([...one!.x]).toEqual([0, 1, 2])
  expect([...one!.y]).toEqual([2, 2, 1])
  expect([...one!.band!.low]).toEqual([1, 1, 1])
  expect(two!.label).toBe('lr = 2 (1)')
  expect(two!.band).toBeUndefined()
})
