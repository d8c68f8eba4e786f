/** What can be exported as what, and the command that makes the same file. Pure. */
import type { ExportQuery } from '../wire/paths'

export const WHATS = [
  'weights',
  'biases',
  'histogram',
  'gradients',
  'scalars',
  'confusion',
  'all',
  'lens/class_images',
] as const
export type What = (typeof WHATS)[number]

export const FORMATS = ['gif', 'mp4', 'png', 'svg', 'html', 'csv', 'parquet'] as const
export type Format = (typeof FORMATS)[number]

export const CMAPS = ['diverging', 'blue', 'viridis', 'cividis', 'magma', 'gray'] as const
export const SIZES = ['800x600', '1280x720', '1600x1200', '1920x1080'] as const

/** Formats that make sense for a choice, among those the server can make. Only a page can hold everything. */
export function formatsFor(what: What, offered: readonly string[]): Format[] {
  // Class images and confusion matrices are one film; a page and a table of tensors hold more.
  if (what === 'lens/class_images' || what === 'confusion')
    return FORMATS.filter((f) => offered.includes(f) && f !== 'html' && f !== 'parquet')
  return FORMATS.filter((f) => offered.includes(f) && (what !== 'all' || f === 'html'))
}

export const isFilm = (format: Format): boolean => format === 'gif' || format === 'mp4'
export const isPicture = (format: Format): boolean => isFilm(format) || format === 'png' || format === 'svg'

const quoted = (text: string) => (/^[\w./:@,=+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)

/** The command line that makes the same file. */
export function commandFor(run: string, query: ExportQuery, to: string): string {
  const { what, steps, layers, fps, size, cmap } = query
  const options = { what, steps, layers, fps, size, cmap }
  const parts = Object.entries(options)
    .filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => `--${name} ${quoted(String(value))}`)
  return ['epochal export', quoted(run), ...parts, '--to', quoted(to)].join(' ')
}

/** A size in bytes as people read it. */
export function formatBytes(n: number): string {
  if (n < 1000) return `${n} B`
  for (const [unit, size] of [
    ['kB', 1e3],
    ['MB', 1e6],
  ] as const) {
    if (n < size * 1000) return `${Number((n / size).toPrecision(3))} ${unit}`
  }
  return `${Number((n / 1e9).toPrecision(3))} GB`
}
