/** Rows of a weight matrix seen as pictures, where what comes in is a picture; kernels of a convolution as tiles. */

/** One picture: `channels` planes of height x width, planes first, as PyTorch flattens them. */
export interface PictureShape {
  readonly height: number
  readonly width: number
  readonly channels: 1 | 3
}

const SMALLEST_SIDE = 5

/**
 * The picture that `inputs` numbers make: as the network's own input says ([batch, channels, height, width] or
 * [batch, height, width]), else a square of at least 5 x 5, grey or in three channels; null when there is none.
 */
export function pictureShape(inputs: number, networkInput: readonly number[] | null = null): PictureShape | null {
  if (networkInput) {
    const sizes = networkInput.slice(1)
    const [channels, height, width] = sizes.length === 3 ? sizes : [1, sizes[0], sizes[1]]
    const isImage = sizes.length === 3 || sizes.length === 2
    if (
      isImage &&
      (channels === 1 || channels === 3) &&
      height! > 1 &&
      width! > 1 &&
      channels * height! * width! === inputs
    ) {
      return { height: height!, width: width!, channels }
    }
  }
  for (const channels of [1, 3] as const) {
    const side = Math.sqrt(inputs / channels)
    if (Number.isInteger(side) && side >= SMALLEST_SIDE) return { height: side, width: side, channels }
  }
  return null
}

/** The slices of a volume that the network takes ([batch, depth, height, width], or with one channel before). */
function slicesOf(
  inputs: number,
  networkInput: readonly number[] | null,
): { depth: number; height: number; width: number } | null {
  const sizes = networkInput?.slice(1) ?? []
  const volume = sizes.length === 4 && sizes[0] === 1 ? sizes.slice(1) : sizes
  if (volume.length !== 3 || (sizes.length === 3 && (volume[0] === 1 || volume[0] === 3))) return null
  const [depth, height, width] = volume as [number, number, number]
  return depth * height * width === inputs && height > 1 && width > 1 && width !== 3 ? { depth, height, width } : null
}

/** How a tensor is laid out as tiles: `down` x `across` pictures; element offsets follow from strides. */
export interface TileShape {
  readonly down: number
  readonly across: number
  readonly height: number
  readonly width: number
  readonly channels: 1 | 3
  /** Elements from one tile to the one below it, and to the one right of it. */
  readonly downStride: number
  readonly acrossStride: number
  /** True when each tile belongs to a unit, so that tiles may flow over several lines. */
  readonly flows: boolean
}

/** Tiles of a weight tensor: rows folded to pictures, or kernels; null when it makes no picture. */
export function tileShape(
  shape: readonly number[],
  networkInput: readonly number[] | null,
  first: boolean,
): TileShape | null {
  if (shape.length === 2 && first) {
    const slices = slicesOf(shape[1]!, networkInput)
    if (slices) {
      const { depth, height, width } = slices
      const plane = height * width
      return {
        height,
        width,
        channels: 1,
        down: shape[0]!,
        across: depth,
        downStride: shape[1]!,
        acrossStride: plane,
        flows: false,
      }
    }
    const picture = pictureShape(shape[1]!, networkInput)
    if (!picture) return null
    return { ...picture, down: shape[0]!, across: 1, downStride: shape[1]!, acrossStride: 0, flows: true }
  }
  if (shape.length === 5) {
    // Kernels of three dimensions: the slices of each input stand side by side.
    const [units, inputs, depth, height, width] = shape as [number, number, number, number, number]
    const plane = height * width
    if (depth * plane <= 1) return null
    const stride = inputs * depth * plane
    return {
      height,
      width,
      channels: 1,
      down: units,
      across: inputs * depth,
      downStride: stride,
      acrossStride: plane,
      flows: false,
    }
  }
  if (shape.length === 4 && shape[2]! * shape[3]! > 1) {
    const [units, inputs, height, width] = shape as [number, number, number, number]
    const plane = height * width
    const colour = inputs === 3
    const flows = colour || inputs === 1
    return {
      height,
      width,
      channels: colour ? 3 : 1,
      down: units,
      across: flows ? 1 : inputs,
      downStride: inputs * plane,
      acrossStride: flows ? 0 : plane,
      flows,
    }
  }
  if (shape.length === 3 && shape[2]! > 1) {
    const [units, inputs, width] = shape as [number, number, number]
    return {
      height: 1,
      width,
      channels: 1,
      down: units,
      across: inputs,
      downStride: inputs * width,
      acrossStride: width,
      flows: inputs === 1,
    }
  }
  return null
}

/** A weight tensor as a matrix: units down, everything that comes into a unit across. */
export function matrixShape(shape: readonly number[]): { rows: number; columns: number } {
  if (shape.length === 0) return { rows: 1, columns: 1 }
  const rows = shape[0]!
  let columns = 1
  for (const s of shape.slice(1)) columns *= s
  return { rows, columns }
}

/** Where tiles go: how many stand side by side and how large one source pixel is drawn. */
export interface TileLayout {
  readonly perLine: number
  readonly lines: number
  readonly pixel: number
  readonly gap: number
  /** Room under each tile for a line about its unit. */
  readonly caption: number
  readonly width: number
  readonly height: number
}

/** The largest whole pixel size at which all tiles fit the room, or 1 when none does. */
export function tileLayout(
  tiles: TileShape,
  room: { width: number; height: number },
  largest = 8,
  caption = 0,
): TileLayout {
  for (let pixel = largest; ; pixel--) {
    const gap = pixel >= 3 ? 4 : 2
    const stepX = tiles.width * pixel + gap
    const stepY = tiles.height * pixel + gap + caption
    const most = Math.max(1, Math.min(tiles.down, Math.floor((room.width + gap) / stepX)))
    // As many on each line as on the others, as far as that goes.
    const perLine = tiles.flows ? Math.ceil(tiles.down / Math.ceil(tiles.down / most)) : tiles.across
    const lines = tiles.flows ? Math.ceil(tiles.down / perLine) : tiles.down
    const width = perLine * stepX - gap
    const height = lines * stepY - gap
    if (pixel === 1 || (width <= room.width && height <= room.height))
      return { perLine, lines, pixel, gap, caption, width, height }
  }
}
