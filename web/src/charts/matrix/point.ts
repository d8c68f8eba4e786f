/** A number under the mouse. */
export interface CellPoint {
  readonly which: 'weight' | 'bias'
  readonly row: number
  readonly column: number
  /** Its place in the tensor, flattened. */
  readonly element: number
  /** How many numbers share the pixel. */
  readonly among: number
  readonly clientX: number
  readonly clientY: number
}
