/** The arrays of a comparison, as the wire packs them. */
import { decodeContainer, type NumberArray } from './frames'

/** By name: matrix, accuracy, values, losses, x, y, path, path_losses, maps, pixels. */
export type Compared = Record<string, NumberArray>

export const decodeCompared = (buffer: ArrayBuffer): Compared => decodeContainer(buffer).arrays
