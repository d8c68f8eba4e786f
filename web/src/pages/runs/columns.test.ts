import { describe, expect, test } from 'vitest'
import type { RunRow } from '../../wire/types'
import { bestValues, columnsOf, formatSort, itemsOf, parseSort, sortRuns } from './columns'

const metric = (last: number | null, better: 'min' | 'max' | null = 'min') => ({
  last,
  min: last,
  max: last,
  better,
  n: 1,
})
const run = (name: string, lr: number | null, loss: number | null, over: Partial<RunRow> = {}) =>
  ({
    id: `p/${name}`,
    project: 'p',
    name,
    status: 'finished',
    created: 0,
    seconds: 1,
    last_epoch: null,
    config: lr === null ? { seed: 0 } : { lr, seed: 0 },
    metrics: loss === undefined ? {} : { val_loss: metric(loss) },
    spark: null,
    tags: [],
    ...over,
  }) as unknown as RunRow

const RUNS = [run('b', 0.1, 0.5), run('a10', 0.01, 0.2), run('a9', null, null)]

describe('columns', () => {
  const { all, standard } = columnsOf(RUNS)
  test('settings that differ are shown, those that are the same are offered', () => {
    expect(standard).toContain('config.lr')
    expect(standard).not.toContain('config.seed')
    expect(all.map((c) => c.id)).toContain('config.seed')
    expect(standard).toContain('best.val_loss')
  })
  test('how charts are laid out is no setting', () => {
    const config = { lr: 0.1, 'custom_scalars/a/b/kind': 'margin' }
    const found = columnsOf([run('c', null, 0.5, { config } as unknown as Partial<RunRow>)])
    expect(found.all.map((c) => c.id).filter((id) => id.startsWith('config.'))).toEqual(['config.lr'])
  })
  test('the numbers of the machine come after all metrics and are not shown by themselves', () => {
    const metrics = { zeal: metric(1), 'system/cpu': metric(50), 'rank1/system/cpu': metric(50), any: metric(2) }
    const found = columnsOf([run('c', 0.1, 0.5, { metrics } as unknown as Partial<RunRow>)])
    const last = found.all.map((c) => c.id).filter((id) => id.startsWith('last.'))
    expect(last).toEqual(['last.any', 'last.zeal', 'last.rank1/system/cpu', 'last.system/cpu'])
    expect(found.standard.filter((id) => id.startsWith('best.'))).toEqual(['best.any', 'best.zeal'])
  })
  test('a metric whose last value is no number says so', () => {
    expect(all.find((c) => c.id === 'last.val_loss')!.text(RUNS[2]!, 0)).toBe('NaN')
  })
  test('the best value of a column', () => {
    const columns = all.filter((c) => c.id === 'best.val_loss')
    expect([...bestValues(RUNS, columns)]).toEqual([['best.val_loss', 0.2]])
  })
})

describe('sorting', () => {
  const { all } = columnsOf(RUNS)
  const names = (sort: string) => sortRuns(RUNS, parseSort(sort), all).map((r) => r.name)
  test('numbers within names count as numbers', () => expect(names('name')).toEqual(['a9', 'a10', 'b']))
  test('runs without a value come last, both ways', () => {
    expect(names('config.lr')).toEqual(['a10', 'b', 'a9'])
    expect(names('-config.lr')).toEqual(['b', 'a10', 'a9'])
  })
  test('spelled and read back', () => expect(formatSort(parseSort('-best.val_loss'))).toBe('-best.val_loss'))
  test('five thousand runs in a few milliseconds', () => {
    const many = Array.from({ length: 5000 }, (_, i) => run(`run ${i}`, (i * 7919) % 1000, i))
    const start = performance.now()
    expect(sortRuns(many, parseSort('config.lr'), columnsOf(many).all)[0]!.config.lr).toBe(0)
    expect(performance.now() - start).toBeLessThan(250)
  })
})

describe('groups', () => {
  const { all } = columnsOf(RUNS)
  test('a closed group keeps its head only', () => {
    const items = itemsOf(
      RUNS,
      all.find((c) => c.id === 'config.lr'),
      new Set(['0.1']),
    )
    expect(items.map((i) => (i.kind === 'run' ? i.run.name : `[${i.key}]`))).toEqual([
      '[0.1]',
      '[0.01]',
      'a10',
      '[not set]',
      'a9',
    ])
  })
  test('no group is a plain list', () => expect(itemsOf(RUNS, undefined, new Set())).toHaveLength(3))
})
