/** A measure of every layer at the playhead, and its colours. */

import { films } from '../../films/films.svelte'
import { cssFromPixel } from '../../maths/colour'
import { colourTable } from '../../maths/colourmaps'
import { indexShown } from '../../maths/search'
import { theme } from '../../state/theme.svelte'
import type { LayerDocument, RunDetail } from '../../wire/types'
import { columnOf, measureSource, partOf, scaleOf, type Measure, type Scale } from './statistics'

export interface Column {
  readonly steps: ArrayLike<number>
  readonly values: Float64Array
}

/** The measure of each layer through time; null where it was not recorded or has not come yet. Asks for what is not here. */
export function columnsOf(
  layers: readonly LayerDocument[],
  measure: Measure,
  detail: RunDetail,
): readonly (Column | null)[] {
  const known = new Map<string, Column | null>()
  return layers.map((layer) => {
    const from = measureSource(layer, measure, detail)
    if (!from) return null
    const kept = known.get(from.series)
    if (kept !== undefined) return kept
    const film = films.histograms(detail.row.id, from.series)
    film.keep(detail.row, from.rows)
    const column = film.rows ? { steps: film.rows.steps, values: columnOf(film.rows, from.column) } : null
    known.set(from.series, column)
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
