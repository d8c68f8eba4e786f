/** Whether what two runs say can be held side by side. Pure. */
import type { ExampleSet } from '../../wire/predictions'

/** The same examples: as many, of the same classes, with the same right answers and the same file of inputs. */
export function sameExamples(a: ExampleSet, b: ExampleSet): boolean {
  if (a.examples !== b.examples || a.classes !== b.classes || a.inputs_blob !== b.inputs_blob) return false
  if (!a.truth || !b.truth) return a.truth === b.truth && a.inputs_blob !== ''
  return a.truth.every((k, i) => k === b.truth![i])
}
