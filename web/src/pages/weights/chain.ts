/** The weights of a network that is one chain of linear layers. */
import type { TileShape } from '../../maths/fold'
import type { RunDetail, TensorDocument } from '../../wire/types'

/** Weights from input to output, each [units, inputs]; null where they do not join from `inputs` to `classes`. */
export function chainOf(
  detail: Pick<RunDetail, 'layers'>,
  classes: number,
  inputs: number,
): readonly TensorDocument[] | null {
  const weights = detail.layers.map((l) => l.weight).filter((t) => t !== null)
  let width = inputs
  for (const weight of weights) {
    if (weight.shape?.length !== 2 || weight.shape[1] !== width || weight.frames === 0) return null
    width = weight.shape[0]!
  }
  return weights.length && width === classes ? weights : null
}

/** What the classes are called, or their numbers. */
export function classNames(detail: Pick<RunDetail, 'names'>, classes: number): readonly string[] {
  const told = detail.names.classes
  return told.length === classes ? told : Array.from({ length: classes }, (_, i) => String(i))
}

/** Inputs that fold to nothing: a row of cells for each class. */
export function rowTiles(down: number, columns: number): TileShape {
  return { height: 1, width: columns, channels: 1, down, across: 1, downStride: columns, acrossStride: 0, flows: true }
}
