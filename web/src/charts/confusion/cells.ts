/** What stands in the cells of a confusion matrix, and how strongly they are tinted. Pure. */
import { percent } from '../../maths/confidence'
import { shares, type Share } from '../../maths/scores'

export interface Cells {
  texts: string[]
  /** From -1, all of it bad, to 1, all of it good. Right answers lie on the diagonal. */
  tints: Float64Array
}

/** Colours are shares of the row, whichever numbers are shown: that is what the eye compares. */
const tintedBy = (share: Share): Share => (share === 'columns' ? 'columns' : 'rows')
const signed = (tints: Float64Array, classes: number) =>
  tints.map((part, k) => (Math.floor(k / classes) === k % classes ? part : -part))

/** One matrix [truth, prediction], row by row. */
export function cellsOf(counts: Uint32Array, classes: number, share: Share): Cells {
  const shown = shares(counts, classes, share)
  const texts = Array.from(shown, (value) => {
    if (!Number.isFinite(value)) return '–'
    if (value === 0) return ''
    return share === 'counts' ? value.toLocaleString('en') : percent(value).replace(' %', '')
  })
  return { texts, tints: signed(shares(counts, classes, tintedBy(share)), classes) }
}

/** What one matrix has more than another: counts, or points of per cent. Good is more on the diagonal, less beside it. */
export function differenceOf(counts: Uint32Array, other: Uint32Array, classes: number, share: Share): Cells {
  const between = (by: Share) => {
    const before = shares(other, classes, by)
    return shares(counts, classes, by).map((value, k) => value - before[k]!)
  }
  const texts = Array.from(between(share), (value) => {
    if (!Number.isFinite(value)) return '–'
    if (value === 0) return ''
    const size = Math.abs(share === 'counts' ? value : 100 * value)
    const digits = share !== 'counts' && size < 0.95 ? 1 : 0
    const text = share === 'counts' ? size.toLocaleString('en') : size.toFixed(digits)
    return `${value < 0 ? '−' : '+'}${text}`
  })
  return { texts, tints: signed(between(tintedBy(share)), classes) }
}

/** How much of its colour a cell has, from 0 to 1. */
export const strengthOf = (tint: number): number =>
  Math.abs(tint) > 0 ? Math.round(6 + 44 * Math.sqrt(Math.min(1, Math.abs(tint)))) / 100 : 0

/** The colour of a cell over the surface. */
export function cellColour(tint: number): string {
  const strength = Math.round(100 * strengthOf(tint))
  if (!strength) return 'transparent'
  return `color-mix(in srgb, var(--${tint > 0 ? 'good' : 'bad'}) ${strength}%, transparent)`
}
