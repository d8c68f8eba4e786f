/** Pictures that are drawn by hand: a grid of brightnesses from 0 to 1, row by row. */

export interface Grid {
  readonly width: number
  readonly height: number
  readonly values: Float32Array
}

export function emptyGrid(width: number, height: number): Grid {
  return { width, height, values: new Float32Array(width * height) }
}

/** Radius of the brush in pixels of the grid: about the stroke of MNIST's digits. */
export function brushRadius(grid: Grid): number {
  return Math.max(0.7, (1.25 * Math.min(grid.width, grid.height)) / 28)
}

/** Draws a line with a soft round brush, in place; positions in pixels, (0.5, 0.5) being the middle of the first. */
export function strokeLine(
  grid: Grid,
  from: { x: number; y: number },
  to: { x: number; y: number },
  { radius = brushRadius(grid), wipe = false } = {},
): void {
  const reach = radius + 1
  const [left, right] = [Math.min(from.x, to.x) - reach, Math.max(from.x, to.x) + reach]
  const [top, bottom] = [Math.min(from.y, to.y) - reach, Math.max(from.y, to.y) + reach]
  for (let r = Math.max(0, Math.floor(top)); r < Math.min(grid.height, Math.ceil(bottom)); r++) {
    for (let c = Math.max(0, Math.floor(left)); c < Math.min(grid.width, Math.ceil(right)); c++) {
      const ink = Math.max(0, Math.min(1, radius + 0.5 - distance(c + 0.5, r + 0.5, from, to)))
      const at = r * grid.width + c
      grid.values[at] = wipe ? Math.min(grid.values[at]!, 1 - ink) : Math.max(grid.values[at]!, ink)
    }
  }
}

function distance(x: number, y: number, a: { x: number; y: number }, b: { x: number; y: number }): number {
  const [dx, dy] = [b.x - a.x, b.y - a.y]
  const length = dx * dx + dy * dy
  const t = length > 0 ? Math.max(0, Math.min(1, ((x - a.x) * dx + (y - a.y) * dy) / length)) : 0
  return Math.hypot(x - a.x - t * dx, y - a.y - t * dy)
}

/** The same picture moved by whole pixels so that its centre of mass is in the middle; an empty one stays. */
export function centred(grid: Grid): Grid {
  const { width, height, values } = grid
  let [sum, x, y] = [0, 0, 0]
  for (let r = 0; r < height; r++) {
    for (let c = 0; c < width; c++) {
      const v = values[r * width + c]!
      sum += v
      x += v * (c + 0.5)
      y += v * (r + 0.5)
    }
  }
  if (sum === 0) return grid
  const dx = Math.round(width / 2 - x / sum)
  const dy = Math.round(height / 2 - y / sum)
  const moved = emptyGrid(width, height)
  for (let r = 0; r < height; r++) {
    for (let c = 0; c < width; c++) {
      const [fromRow, fromColumn] = [r - dy, c - dx]
      if (fromRow >= 0 && fromRow < height && fromColumn >= 0 && fromColumn < width)
        moved.values[r * width + c] = values[fromRow * width + fromColumn]!
    }
  }
  return moved
}

/** Planes of brightness (1 or 3) of RGBA bytes; one plane of a light picture is turned over, as digits are light on dark. */
export function planesOfRgba(rgba: ArrayLike<number>, width: number, height: number, channels: 1 | 3): Float32Array {
  const plane = width * height
  const out = new Float32Array(plane * channels)
  for (let i = 0; i < plane; i++) {
    const alpha = rgba[4 * i + 3]! / 255
    const [r, g, b] = [0, 1, 2].map((k) => 1 - alpha + (alpha * rgba[4 * i + k]!) / 255) as [number, number, number]
    if (channels === 1) out[i] = 0.299 * r + 0.587 * g + 0.114 * b
    else [out[i], out[plane + i], out[2 * plane + i]] = [r, g, b]
  }
  if (channels === 1 && edgeMean(out, width, height) > 0.5) for (let i = 0; i < plane; i++) out[i] = 1 - out[i]!
  return out
}

function edgeMean(values: Float32Array, width: number, height: number): number {
  let [sum, n] = [0, 0]
  for (let r = 0; r < height; r++) {
    for (let c = 0; c < width; c++) {
      if (r > 0 && c > 0 && r < height - 1 && c < width - 1) continue
      sum += values[r * width + c]!
      n++
    }
  }
  return n ? sum / n : 0
}

/** How a network's example is a picture: [h, w], [1|3, h, w], [h, w, 1|3], or a flat square; null when it is none. */
export interface Canvas {
  readonly width: number
  readonly height: number
  readonly channels: 1 | 3
  /** Whether the channels stand last in what the network takes. */
  readonly last: boolean
}

export function canvasOf(shape: readonly number[]): Canvas | null {
  const isChannels = (n: number | undefined): n is 1 | 3 => n === 1 || n === 3
  const sides = (h: number, w: number) => h >= 5 && w >= 5 && h <= 512 && w <= 512
  if (shape.length === 2 && sides(shape[0]!, shape[1]!))
    return { height: shape[0]!, width: shape[1]!, channels: 1, last: false }
  if (shape.length === 3 && isChannels(shape[0]) && sides(shape[1]!, shape[2]!))
    return { height: shape[1]!, width: shape[2]!, channels: shape[0], last: false }
  if (shape.length === 3 && isChannels(shape[2]) && sides(shape[0]!, shape[1]!))
    return { height: shape[0]!, width: shape[1]!, channels: shape[2], last: true }
  // Small flat inputs are rows of a table, even where they are as many as a square has.
  const side = shape.length === 1 ? Math.sqrt(shape[0]!) : NaN
  return Number.isInteger(side) && side >= 20 && side <= 512
    ? { height: side, width: side, channels: 1, last: false }
    : null
}

/** The numbers of a picture in the order in which the network takes them, planes first or channels last. */
export function asInput(planes: Float32Array, canvas: Canvas): number[] {
  const plane = canvas.width * canvas.height
  if (canvas.channels === 1 || !canvas.last) return Array.from(planes)
  return Array.from({ length: 3 * plane }, (_, i) => planes[(i % 3) * plane + Math.floor(i / 3)]!)
}
