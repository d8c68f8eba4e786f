/** A measure of every layer at the playhead, and its colours. */

import { films } from '../../films/films.svelte'
import { source } from '../../source/source'
import { cssFromPixel } from '../../maths/colour'
import { colourTable } from '../../maths/colourmaps'
import { indexShown } from '../../maths/search'
import { theme } from '../../state/theme.svelte'
import type { Column } from '../../wire/frames'
import type { LayerDocument, RunDetail } from '../../wire/types'
import { askedFor, columnOf, measureSource, partOf, scaleOf, type Measure, type Scale } from './statistics'

/**
 * The measure of each layer through time; null where it was not recorded or has not come yet. Asks for what is not
 * here: a server for all layers at once, an exported page for the histograms that it holds.
 */
export function columnsOf(
  layers: readonly LayerDocument[],
  measure: Measure,
  detail: RunDetail,
): readonly (Column | null)[] {
  const from = layers.map((layer) => measureSource(layer, measure, detail))
  if (source().live) {
    const { kind, column, rows } = askedFor(measure, detail)
    const all = films.statistics(detail.row.id, kind, column)
    if (rows) all.keep(detail.row, rows)
    return from.map((one) => (one && all.rows?.get(one.series)) || null)
  }
  const columns = new Map<string, Column | null>()
  return from.map((one) => {
    if (!one) return null
    const known = columns.get(one.series)
    if (known !== undefined) return known
    const film = films.histograms(detail.row.id, one.series)
    film.keep(detail.row, one.rows)
    const column = film.rows ? { steps: film.rows.steps, values: columnOf(film.rows, one.column) } : null
    columns.set(one.series, column)
    return column
  })
}

export const rangeOf = (measure: Measure, columns: readonly (Column | null)[]): Scale | null =>
  scaleOf(
    measure,
    columns.flatMap((c) => (c ? [c.values] : [])),
  )

export function valueAt(column: Column | null | undefined, step: number): number | null {
  const i = column ? indexShown(column.steps, step) : -1
  return column && i >= 0 ? column.values[i]! : null
}

export const tableOf = (scale: Scale) => colourTable(scale.kind === 'signed' ? 'diverging' : 'viridis', theme.name)

/** The colour of a value; null for what has no place on the scale. */
export function colourAt(value: number | null, scale: Scale, table: ArrayLike<number>): string | null {
  const part = value === null ? null : partOf(value, scale)
  return part === null ? null : cssFromPixel(table[Math.round(part * (table.length - 1))]!)
}
