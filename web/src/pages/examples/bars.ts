/** How confidences are drawn, and how classes and examples are called. Pure. */
import type { ExampleSet } from '../../wire/predictions'

const FEW = 4
const COLUMNS = 24
const TOP = 4

export interface Bars {
  /** Drawn as a column for each class. */
  columns: boolean
  /** Classes drawn as named bars. */
  rows: number[]
  /** How many classes are not drawn. */
  more: number
}

/** Few classes: all, named. Up to 24: columns. More: the likeliest, and the truth where it is none of them. */
export function barsOf(values: ArrayLike<number>, truth: number | null, all: boolean): Bars {
  const count = values.length
  if (count <= FEW || all) return { columns: false, rows: Array.from({ length: count }, (_, k) => k), more: 0 }
  const rows = likeliest(values, TOP)
  if (count <= COLUMNS) return { columns: true, rows, more: 0 }
  if (truth !== null && !rows.includes(truth)) rows[TOP - 1] = truth
  return { columns: false, rows, more: count - TOP }
}

/** The classes of the `most` largest values, the largest first; the first of equals. */
export function likeliest(values: ArrayLike<number>, most: number): number[] {
  const found: number[] = []
  for (let k = 0; k < values.length; k += 1) {
    let at = found.length
    while (at > 0 && values[k]! > values[found[at - 1]!]!) at -= 1
    if (at < most) {
      found.splice(at, 0, k)
      if (found.length > most) found.pop()
    }
  }
  return found
}

export const namesOf =
  (set: ExampleSet) =>
  (k: number): string =>
    set.class_names?.[k] ?? String(k)

/** What an example is called: its id, or its number. */
export const titleOf = (set: ExampleSet, i: number): string => set.ids?.[i] ?? String(i)
