/** Which logged values are shown at a step, and how series are put in order. Pure. */
import type { MediaItemDocument, MediaSeriesDocument } from '../../wire/types'

/** The steps at which there are items, growing. */
export function stepsOf(items: readonly MediaItemDocument[]): number[] {
  return [...new Set(items.map((item) => item.step))].sort((a, b) => a - b)
}

/** The last step at or before `step`; the first one where all come later, null where there is none. */
export function stepAt(steps: readonly number[], step: number): number | null {
  let low = 0
  let high = steps.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (steps[middle]! <= step) low = middle + 1
    else high = middle
  }
  return steps[Math.max(0, low - 1)] ?? null
}

/** Items by step, those of one step in the order logged. */
export function byStep(items: readonly MediaItemDocument[]): Map<number, MediaItemDocument[]> {
  const found = new Map<number, MediaItemDocument[]>()
  for (const item of items) {
    const there = found.get(item.step)
    if (there) there.push(item)
    else found.set(item.step, [item])
  }
  return found
}

/** Between which values those of all items lie; null where none says it. */
export function rangeOf(items: readonly MediaItemDocument[]): { low: number; high: number } | null {
  let [low, high] = [Infinity, -Infinity]
  for (const { meta } of items) {
    if (typeof meta.low !== 'number' || typeof meta.high !== 'number') continue
    low = Math.min(low, meta.low)
    high = Math.max(high, meta.high)
  }
  return low <= high ? { low, high } : null
}

export interface Group {
  /** What stands before the last slash of the names, empty for names without one. */
  prefix: string
  series: MediaSeriesDocument[]
}

/** Pictures come first, then what is seen at a glance; what is read, heard or turned comes after. */
const ORDER = ['image', 'figure', 'video', 'predictions', 'chart', 'array', 'embedding', 'points', 'object3d', 'voxels']
const rank = (one: MediaSeriesDocument): number => {
  const places = one.kinds.map((kind) => ORDER.indexOf(kind)).filter((place) => place >= 0)
  return places.length ? Math.min(...places) : ORDER.length
}

/** Series whose name or kind fits the search, under their prefixes: pictures first, else in the order of the run. */
export function grouped(series: readonly MediaSeriesDocument[], search: string): Group[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  const groups = new Map<string, MediaSeriesDocument[]>()
  for (const one of series) {
    const text = `${one.series} ${one.kinds.join(' ')}`.toLowerCase()
    if (!words.every((word) => text.includes(word))) continue
    const prefix = one.series.slice(0, Math.max(0, one.series.lastIndexOf('/')))
    const there = groups.get(prefix)
    if (there) there.push(one)
    else groups.set(prefix, [one])
  }
  const ordered = [...groups].map(([prefix, members]) => ({
    prefix,
    series: members.toSorted((a, b) => rank(a) - rank(b)),
  }))
  return ordered.sort((a, b) => rank(a.series[0]!) - rank(b.series[0]!))
}

/** `12 kB`: a thousand bytes each. */
export function sizeText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  const power = Math.min(3, Math.floor(Math.log10(bytes) / 3))
  const value = bytes / 1000 ** power
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${['', 'k', 'M', 'G'][power]}B`
}
