/** Where the cells of a weight matrix and of the bias beside it go, in whole device pixels. */

export interface MatrixLayout {
  /** Cells of the matrix as recorded. */
  readonly rows: number
  readonly columns: number
  /** Cells as drawn: fewer than recorded where a cell would be smaller than a pixel. */
  readonly shownRows: number
  readonly shownColumns: number
  /** Size of a drawn cell, the line between cells included. */
  readonly cellWidth: number
  readonly cellHeight: number
  /** The line between cells: 1 where there is room for it. */
  readonly line: number
  /** Where the bias column begins, and how wide it is; null without one. */
  readonly bias: { readonly left: number; readonly width: number } | null
  /** The whole picture. */
  readonly width: number
  readonly height: number
}

/** A cell is never drawn larger than this, in CSS pixels. */
export const LARGEST_CELL = 17
/** From this size on, cells are kept square and a line is drawn between them. */
const SQUARE_FROM = 4
/** Small cells may be this many times taller than wide, or wider than tall, to use the room. */
const MOST_STRETCH = 4
/** Between matrix and bias, in CSS pixels. */
export const BIAS_GAP = 8

/** A layout of `rows` x `columns` cells inside a room of CSS pixels. */
export function matrixLayout(
  rows: number,
  columns: number,
  hasBias: boolean,
  room: { width: number; height: number },
  ratio = 1,
  largest = LARGEST_CELL,
): MatrixLayout {
  const most = Math.round(largest * ratio)
  const gap = hasBias ? Math.round(BIAS_GAP * ratio) : 0
  const height = Math.floor(room.height * ratio)
  // The bias takes as much room as a column, and at least six pixels to be seen.
  const width = Math.floor(room.width * ratio) - gap
  const across = columns + (hasBias ? 1 : 0)
  const square = Math.min(most, Math.floor(width / across), Math.floor(height / rows))
  let cellWidth = square
  let cellHeight = square
  if (square < SQUARE_FROM * ratio) {
    const free = width - (hasBias ? Math.round(6 * ratio) : 0)
    cellWidth = Math.max(1, Math.min(most, Math.floor(free / columns)))
    cellHeight = Math.max(1, Math.min(most, Math.floor(height / rows)))
    cellWidth = Math.min(cellWidth, MOST_STRETCH * cellHeight)
    cellHeight = Math.min(cellHeight, MOST_STRETCH * cellWidth)
  }
  const biasWidth = hasBias ? Math.max(cellWidth, Math.round(6 * ratio)) : 0
  const shownColumns = Math.min(columns, Math.max(1, Math.floor((width - biasWidth) / cellWidth)))
  const shownRows = Math.min(rows, Math.max(1, Math.floor(height / cellHeight)))
  const matrixWidth = shownColumns * cellWidth
  const matrixHeight = shownRows * cellHeight
  return {
    rows,
    columns,
    shownRows,
    shownColumns,
    cellWidth,
    cellHeight,
    line: Math.min(cellWidth, cellHeight) >= SQUARE_FROM * ratio ? Math.max(1, Math.round(ratio)) : 0,
    bias: hasBias ? { left: matrixWidth + gap, width: biasWidth } : null,
    width: matrixWidth + gap + biasWidth,
    height: matrixHeight,
  }
}

/** A place in the picture: a cell of the matrix, or of the bias (`column` is then -1). */
export interface Cell {
  readonly row: number
  readonly column: number
}

/** The recorded cells under a device pixel: first one and how many; null between and outside. */
export function cellsAt(layout: MatrixLayout, x: number, y: number): (Cell & { rows: number; columns: number }) | null {
  if (y < 0 || y >= layout.height || x < 0) return null
  const [row, rows] = stretch(Math.floor(y / layout.cellHeight), layout.shownRows, layout.rows)
  if (x < layout.shownColumns * layout.cellWidth) {
    const [column, columns] = stretch(Math.floor(x / layout.cellWidth), layout.shownColumns, layout.columns)
    return { row, column, rows, columns }
  }
  const bias = layout.bias
  if (bias && x >= bias.left && x < bias.left + bias.width) return { row, column: -1, rows, columns: 1 }
  return null
}

/** Which recorded entries a drawn one stands for, as `shrink` divides them. */
function stretch(shown: number, of: number, recorded: number): [number, number] {
  const first = Math.floor((shown * recorded) / of)
  return [first, Math.max(1, Math.floor(((shown + 1) * recorded) / of) - first)]
}

/** The rectangle of a cell in device pixels. */
export function rectangleOf(layout: MatrixLayout, cell: Cell): { x: number; y: number; width: number; height: number } {
  const row = Math.min(layout.shownRows - 1, Math.floor(((cell.row + 0.5) * layout.shownRows) / layout.rows))
  const y = row * layout.cellHeight
  if (cell.column < 0 && layout.bias) {
    return { x: layout.bias.left, y, width: layout.bias.width, height: layout.cellHeight }
  }
  const column = Math.floor(((cell.column + 0.5) * layout.shownColumns) / layout.columns)
  const x = Math.min(layout.shownColumns - 1, column) * layout.cellWidth
  return { x, y, width: layout.cellWidth, height: layout.cellHeight }
}
