/** Rows as they were measured, and as a network is given them. Pure. */

/** `value * scale + offset`, column by column; the scale 0 is that of a column of which only one value is known. */
export interface Prepared {
  readonly scale: ArrayLike<number>
  readonly offset: ArrayLike<number>
}

/** One row, or several one after another, as the network is given them. */
export function given(values: ArrayLike<number>, prepared: Prepared): Float64Array {
  const { scale, offset } = prepared
  return Float64Array.from(values, (v, i) => v * scale[i % scale.length]! + offset[i % scale.length]!)
}

/** The row that is given as nothing but zeros: where z-scores are given, that of the means. */
export function middle(prepared: Prepared): number[] {
  return Array.from(prepared.scale, (scale, i) => (scale === 0 ? 0 : -prepared.offset[i]! / scale))
}
