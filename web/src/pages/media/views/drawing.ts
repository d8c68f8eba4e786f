/** A logged chart: its rows as lines, bars, points or a matrix. Pure. */
import type { Cell } from './table'

export interface ChartFile {
  chart: { kind: 'line' | 'bar' | 'scatter' | 'histogram' | 'matrix'; title: string } & Partial<
    Record<'x' | 'y' | 'series' | 'value', string>
  >
  columns: string[]
  rows: Cell[][]
}

export interface Line {
  name: string
  points: { x: number; y: number; text: string }[]
}

/** A cell as a number, NaN where it is none. */
export function asNumber(cell: Cell | undefined): number {
  if (typeof cell === 'number') return cell
  if (typeof cell === 'boolean') return Number(cell)
  if (typeof cell === 'string' && cell.trim() !== '') return Number(cell)
  if (cell && typeof cell === 'object' && 'number' in cell) return Number(cell.number)
  return NaN
}

const column = (file: ChartFile, role: 'x' | 'y' | 'series' | 'value') => file.columns.indexOf(file.chart[role] ?? '')

/** Lines or groups of points; an x that is no number counts from 0 and keeps its text. */
export function linesOf(file: ChartFile): { lines: Line[]; ticks: string[] | null } {
  const [x, y, series] = [column(file, 'x'), column(file, 'y'), column(file, 'series')]
  const numeric = file.rows.every((row) => !Number.isNaN(asNumber(row[x])))
  const texts: string[] = []
  const lines = new Map<string, Line>()
  for (const row of file.rows) {
    const name = series < 0 ? '' : String(row[series] ?? '')
    const text = String(row[x] ?? '')
    let place = asNumber(row[x])
    if (!numeric) {
      if (!texts.includes(text)) texts.push(text)
      place = texts.indexOf(text)
    }
    const line = lines.get(name) ?? { name, points: [] }
    lines.set(name, line)
    line.points.push({ x: place, y: asNumber(row[y]), text })
  }
  return { lines: [...lines.values()], ticks: numeric ? null : texts }
}

/** Names of bars and how long each is. */
export function barsOf(file: ChartFile, bins = 30): { name: string; value: number }[] {
  const x = column(file, 'x')
  if (file.chart.kind !== 'histogram')
    return file.rows.map((row) => ({ name: String(row[x] ?? ''), value: asNumber(row[column(file, 'y')]) }))
  const values = file.rows.map((row) => asNumber(row[x])).filter(Number.isFinite)
  if (!values.length) return []
  const low = Math.min(...values)
  const high = Math.max(...values)
  const width = (high - low) / bins || 1
  const counts = new Array<number>(high > low ? bins : 1).fill(0)
  for (const value of values) counts[Math.min(counts.length - 1, Math.floor((value - low) / width))]! += 1
  return counts.map((value, k) => ({ name: `${(low + k * width).toPrecision(3)}`, value }))
}

/** Names of rows and columns in the order they come, and the values between them. */
export function matrixOf(file: ChartFile): { rows: string[]; columns: string[]; values: Float64Array } {
  const [x, y, value] = [column(file, 'x'), column(file, 'y'), column(file, 'value')]
  const rows = [...new Set(file.rows.map((row) => String(row[y] ?? '')))]
  const columns = [...new Set(file.rows.map((row) => String(row[x] ?? '')))]
  const values = new Float64Array(rows.length * columns.length).fill(NaN)
  for (const row of file.rows)
    values[rows.indexOf(String(row[y] ?? '')) * columns.length + columns.indexOf(String(row[x] ?? ''))] = asNumber(
      row[value],
    )
  return { rows, columns, values }
}
