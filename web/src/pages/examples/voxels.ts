/** Examples that are blocks of voxels. Pure. */
import { blockOf, type Block } from '../../charts/voxels/block'
import { valuesOf, type Inputs } from './inputs'

/** An example as voxels, those of its first channel; null where it is none. */
export function blockAt(inputs: Inputs, i: number): Block | null {
  return inputs.kind === 'block' ? blockOf({ shape: inputs.shape, values: valuesOf(inputs, i) }) : null
}
