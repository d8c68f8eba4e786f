/** A logged table, as its file has it. Pure. */
export interface CellValue {
  kind: string
  sha256: string
  extension: string
  size: number
  caption: string
  meta: Record<string, unknown>
}

export type Cell = number | string | boolean | null | { number: string } | { value: CellValue }

export interface Table {
  columns: string[]
  kinds: string[]
  rows: Cell[][]
}

export const isValue = (cell: Cell): cell is { value: CellValue } =>
  typeof cell === 'object' && cell !== null && 'value' in cell

/** A cell as text; null is empty. */
export function cellText(cell: Cell): string {
  if (cell === null) return ''
  if (typeof cell === 'object') return 'number' in cell ? cell.number : cell.value.caption || cell.value.kind
  return typeof cell === 'number' ? numberText(cell) : String(cell)
}

function numberText(value: number): string {
  if (Number.isInteger(value)) return String(value)
  const size = Math.abs(value)
  return size >= 1e6 || size < 1e-4 ? value.toExponential(3) : String(Number(value.toPrecision(6)))
}

/** Row numbers in the order of a column; what is no number comes after numbers, empty cells last. */
export function sorted(rows: readonly Cell[][], column: number, down: boolean): number[] {
  const key = (row: number): [number, number, string] => {
    const cell = rows[row]![column] ?? null
    if (cell === null) return [2, 0, '']
    if (typeof cell === 'number' || typeof cell === 'boolean') return [0, Number(cell), '']
    return [1, 0, cellText(cell)]
  }
  const order = rows.map((_, k) => k)
  const keys = order.map(key)
  return order.sort((a, b) => {
    const [x, y] = [keys[a]!, keys[b]!]
    if (x[0] !== y[0]) return x[0] - y[0]
    const by = x[1] - y[1] || x[2].localeCompare(y[2])
    return (down ? -by : by) || a - b
  })
}
