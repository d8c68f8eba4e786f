/** Columns of the runs table: which there are, what a run has in them, how they sort. Pure. */
import { formatConfig, formatMoment, formatQuick, formatSeconds } from '../../state/format'
import { isSystem } from '../../state/machine'
import { bestOf } from '../../state/query'
import { isSetting } from '../../state/settings'
import type { RunRow } from '../../wire/types'
import { words } from './words'

export interface Column {
  /** `status`, `config.lr`, `best.val_loss`, `last.loss`, ... */
  id: string
  title: string
  /** Said under the title of a metric: which of its values this is. */
  about?: string
  width: number
  numeric: boolean
  text: (run: RunRow, now: number) => string
  /** What it sorts by; null sorts last in either direction. */
  sort: (run: RunRow) => number | string | null
  /** Which end is better, where that can be said. */
  better?: 'min' | 'max'
}

const title = words.title

const FIXED: readonly Column[] = [
  { id: 'status', title: title.status, width: 98, numeric: false, text: (r) => r.status, sort: (r) => r.status },
  { id: 'project', title: title.project, width: 110, numeric: false, text: (r) => r.project, sort: (r) => r.project },
  { id: 'group', title: title.group, width: 110, numeric: false, text: (r) => r.group ?? '', sort: (r) => r.group },
  {
    id: 'epoch',
    title: title.epoch,
    width: 88,
    numeric: true,
    text: (r) =>
      r.last_epoch === null
        ? ''
        : formatQuick(r.last_epoch) + (r.total_epochs === null ? '' : ` / ${formatQuick(r.total_epochs)}`),
    sort: (r) => r.last_epoch,
  },
  {
    id: 'step',
    title: title.step,
    width: 84,
    numeric: true,
    text: (r) => (r.last_step === null ? '' : formatQuick(r.last_step)),
    sort: (r) => r.last_step,
  },
  {
    id: 'duration',
    title: title.duration,
    width: 96,
    numeric: true,
    text: (r, now) => formatSeconds(r.seconds ?? (r.status === 'running' ? now - r.created : null)),
    sort: (r) => r.seconds,
  },
  {
    id: 'started',
    title: title.started,
    width: 108,
    numeric: true,
    text: (r, now) => formatMoment(r.created, now),
    sort: (r) => r.created,
  },
  {
    id: 'parameters',
    title: title.parameters,
    width: 100,
    numeric: true,
    text: (r) => (r.parameters === null ? '' : formatQuick(r.parameters)),
    sort: (r) => r.parameters,
  },
  { id: 'notes', title: title.notes, width: 180, numeric: false, text: (r) => r.notes, sort: (r) => r.notes || null },
  {
    id: 'spark',
    title: title.spark,
    width: 92,
    numeric: false,
    text: () => '',
    sort: (r) => r.metrics[r.spark?.name ?? '']?.last ?? null,
  },
]

function configColumn(key: string, numeric: boolean): Column {
  return {
    id: `config.${key}`,
    title: key,
    width: Math.max(numeric ? 64 : 104, Math.min(140, 26 + key.length * 7)),
    numeric,
    text: (r) => formatConfig(r.config[key]),
    sort: (r) => {
      const value = r.config[key]
      if (value === null || value === undefined) return null
      return typeof value === 'number' ? value : formatConfig(value)
    },
  }
}

function metricColumn(name: string, kind: 'best' | 'last', better: 'min' | 'max' | null): Column {
  const value = (r: RunRow) => {
    const metric = r.metrics[name]
    if (!metric) return null
    return kind === 'best' ? bestOf(metric) : metric.last
  }
  return {
    id: `${kind}.${name}`,
    title: name,
    about: words[kind],
    // Room for `−0.001234` in bold: a number that is cut off is worse than none.
    width: Math.max(100, Math.min(160, 26 + name.length * 7)),
    numeric: true,
    // JSON has no NaN: where a metric has points and its last one is no number, that is what it was.
    text: (r) => {
      const v = value(r)
      return v === null ? (r.metrics[name] ? 'NaN' : '') : formatQuick(v)
    },
    sort: value,
    better: better ?? (/loss|error/i.test(name) ? 'min' : /acc|f1|auc|score/i.test(name) ? 'max' : undefined),
  }
}

/** All columns that these runs have something for, and those shown until the user chooses. */
export function columnsOf(runs: readonly RunRow[]): { all: Column[]; standard: string[] } {
  const values = new Map<string, Set<unknown>>()
  const numeric = new Map<string, boolean>()
  const metrics = new Map<string, { runs: number; better: 'min' | 'max' | null }>()
  for (const run of runs) {
    for (const [key, value] of Object.entries(run.config)) {
      if (value === null || value === undefined || !isSetting(key)) continue
      let seen = values.get(key)
      if (!seen) values.set(key, (seen = new Set()))
      // Two different values are enough to know that it tells runs apart.
      if (seen.size < 2) seen.add(typeof value === 'object' ? JSON.stringify(value) : value)
      numeric.set(key, (numeric.get(key) ?? true) && typeof value === 'number')
    }
    for (const [name, metric] of Object.entries(run.metrics)) {
      const known = metrics.get(name)
      if (known) {
        known.runs++
        known.better ??= metric.better
      } else if (name !== 'epoch') metrics.set(name, { runs: 1, better: metric.better })
    }
  }
  const config = [...values.keys()].sort()
  const names = [...metrics.keys()].sort((a, b) => +isSystem(a) - +isSystem(b) || (a < b ? -1 : 1))
  const fixed = (...ids: string[]) => FIXED.filter((c) => ids.includes(c.id))
  const all = [
    ...fixed('status', 'spark'),
    ...names.flatMap((name) => {
      const better = metrics.get(name)!.better
      return [metricColumn(name, 'best', better), metricColumn(name, 'last', better)]
    }),
    ...fixed('project', 'group'),
    ...config.map((key) => configColumn(key, numeric.get(key) ?? false)),
    ...fixed('parameters', 'epoch', 'step', 'duration', 'started', 'notes'),
  ]
  // What differs between runs tells them apart; what is the same everywhere is noise.
  // `epochs` is in the column of epochs already.
  const telling = config.filter((key) => values.get(key)!.size > 1 && key !== 'epochs')
  const chosenConfig = (telling.length ? telling : config).slice(0, 3)
  const pick = ['val_loss', 'test_accuracy', 'val_accuracy', 'accuracy', 'loss']
    .filter((n) => metrics.has(n))
    .slice(0, 3)
  const chosenMetrics = pick.length ? pick : names.filter((n) => !isSystem(n)).slice(0, 2)
  const projects = new Set(runs.map((r) => r.project))
  const standard = [
    'status',
    'spark',
    ...chosenMetrics.map((name) => `best.${name}`),
    ...(projects.size > 1 ? ['project'] : []),
    ...chosenConfig.map((key) => `config.${key}`),
    'epoch',
    'duration',
    'started',
  ]
  const order = all.map((c) => c.id)
  return { all, standard: standard.sort((a, b) => order.indexOf(a) - order.indexOf(b)) }
}

export interface Sort {
  id: string
  down: boolean
}

/** `-best.val_loss` sorts from high to low. */
export function parseSort(text: string): Sort {
  return text.startsWith('-') ? { id: text.slice(1), down: true } : { id: text, down: false }
}

export const formatSort = ({ id, down }: Sort): string => (down ? `-${id}` : id)

/** Made once: `localeCompare` makes one for every pair. */
const COLLATOR = new Intl.Collator('en', { numeric: true })

/** The runs in order; runs without a value come last, and equal ones stay newest first. */
export function sortRuns(runs: readonly RunRow[], sort: Sort, columns: readonly Column[]): RunRow[] {
  const by = sort.id === 'name' ? (r: RunRow) => r.name : columns.find((c) => c.id === sort.id)?.sort
  if (!by) return [...runs]
  const keyed = runs.map((run, at) => ({ run, at, key: by(run) }))
  const sign = sort.down ? -1 : 1
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return a.key === b.key ? a.at - b.at : a.key === null ? 1 : -1
    if (typeof a.key === 'number' && typeof b.key === 'number') return sign * (a.key - b.key) || a.at - b.at
    return sign * COLLATOR.compare(String(a.key), String(b.key)) || a.at - b.at
  })
  return keyed.map((k) => k.run)
}

export type Item = { kind: 'run'; run: RunRow } | { kind: 'group'; key: string; runs: readonly RunRow[]; open: boolean }

/** Rows of the table: runs, or groups (in the order of their first run) with their runs where they are open. */
export function itemsOf(runs: readonly RunRow[], by: Column | undefined, closed: ReadonlySet<string>): Item[] {
  if (!by) return runs.map((run) => ({ kind: 'run', run }))
  const groups = new Map<string, RunRow[]>()
  for (const run of runs) {
    const key = by.text(run, 0) || words.without
    const list = groups.get(key)
    if (list) list.push(run)
    else groups.set(key, [run])
  }
  const items: Item[] = []
  for (const [key, list] of groups) {
    const open = !closed.has(key)
    items.push({ kind: 'group', key, runs: list, open })
    if (open) for (const run of list) items.push({ kind: 'run', run })
  }
  return items
}

/** The best value of each column that has one, to point it out; only where there is something to compare. */
export function bestValues(runs: readonly RunRow[], columns: readonly Column[]): Map<string, number> {
  const best = new Map<string, number>()
  if (runs.length < 2) return best
  for (const { id, better, sort } of columns) {
    if (!better) continue
    for (const run of runs) {
      const value = sort(run)
      if (typeof value !== 'number') continue
      const held = best.get(id)
      if (held === undefined || (better === 'min' ? value < held : value > held)) best.set(id, value)
    }
  }
  return best
}
