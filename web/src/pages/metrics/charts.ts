/** Which charts there are, in which groups, and the lines of each. Pure. */
import { smooth, smoothingUnit, type Line } from '../../charts/curve/lines'
import { indexAtOrBefore } from '../../maths/search'
import { formatConfig } from '../../state/format'
import type { Curve } from '../../wire/columns'
import type { RunRow } from '../../wire/types'
import { baseOf, type Part } from './parts'
import { metricOf, xValues, type XKind, type XSource } from './xaxis'

export interface Group {
  /** What stands before the first slash; empty for names without one. */
  prefix: string
  names: string[]
}

/** Metrics that say most come first, the others by name; the machine's own numbers come last. */
const FIRST = ['loss', 'val_loss', 'accuracy', 'val_accuracy', 'test_loss', 'test_accuracy']

/** All metrics of these runs by prefix, those of all processes as one. `epoch` is time, not a metric. */
export function groupsOf(runs: readonly RunRow[], fits: (name: string) => boolean): Group[] {
  const names = new Set(runs.flatMap((r) => Object.keys(r.metrics)).map(baseOf))
  names.delete('epoch')
  const groups = new Map<string, string[]>()
  for (const name of names) {
    if (!fits(name)) continue
    const prefix = name.includes('/') ? name.slice(0, name.indexOf('/')) : ''
    const list = groups.get(prefix)
    if (list) list.push(name)
    else groups.set(prefix, [name])
  }
  const rank = (name: string) => {
    const at = FIRST.indexOf(name.slice(name.indexOf('/') + 1))
    return at < 0 ? FIRST.length : at
  }
  const last = (prefix: string) => (prefix === 'system' ? 2 : prefix === '' ? 0 : 1)
  return [...groups]
    .map(([prefix, list]) => ({ prefix, names: list.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1)) }))
    .sort((a, b) => last(a.prefix) - last(b.prefix) || (a.prefix < b.prefix ? -1 : 1))
}

export interface Drawn {
  run: RunRow
  curve: Curve
  colour: string
  main: boolean
  of: XSource
  part: Part
  /** Around it, where its part has a band. */
  edges?: readonly [Curve, Curve]
}

/** Lines of a chart; runs that have no such x are left out. */
export function linesOf(drawn: readonly Drawn[], kind: XKind, smoothing: number): Line[] {
  const lines: Line[] = []
  for (const { run, curve, colour, main, of, part, edges } of drawn) {
    const x = xValues(kind, curve, of)
    if (!x) continue
    const sorted = metricOf(kind) === null
    // Smoothing goes along the steps, whatever x shows.
    const unit = smoothingUnit(curve.steps, run.metrics[part.name]?.n ?? curve.steps.length)
    const y = smoothing > 0 ? smooth(curve.steps, curve.v, smoothing, unit) : curve.v
    lines.push({
      id: part.label ? `${run.id} ${part.name}` : run.id,
      label: part.label ? `${part.label} · ${run.name}` : run.name,
      colour,
      main: main && !part.thin,
      thin: part.thin,
      x,
      y,
      sorted,
      raw: smoothing > 0 && !part.thin ? curve.v : null,
      band: edges && sorted ? { low: along(edges[0], curve), high: along(edges[1], curve) } : undefined,
    })
  }
  return lines
}

/** The values of one curve at the steps of another. */
function along(curve: Curve, at: Curve): Float64Array {
  return at.steps.map((step) => curve.v[indexAtOrBefore(curve.steps, step)] ?? Number.NaN)
}

/** Points that the mean of a group is taken at. */
const MEAN_POINTS = 400

/** One line for each value of a config key: the mean of its runs where all of them run, and one deviation around it. */
export function meanLines(lines: readonly Line[], runs: readonly RunRow[], key: string): Line[] {
  const byId = new Map(runs.map((r) => [r.id, r]))
  const groups = new Map<string, Line[]>()
  for (const line of lines) {
    const value = formatConfig(byId.get(line.id)?.config[key])
    const list = groups.get(value)
    if (list) list.push(line)
    else groups.set(value, [line])
  }
  return [...groups].map(([value, list]) => meanLine(`${key} = ${value || '–'}`, list))
}

function meanLine(label: string, lines: readonly Line[]): Line {
  const first = lines[0]!
  const from = Math.min(...lines.map((l) => l.x[0] ?? Infinity))
  const to = Math.max(...lines.map((l) => l.x.at(-1) ?? -Infinity))
  const longest = Math.max(...lines.map((l) => l.x.length))
  const n = to > from ? Math.min(MEAN_POINTS, Math.max(2, longest)) : 0
  const x = Float64Array.from({ length: n }, (_, i) => from + ((to - from) * i) / (n - 1))
  const [y, low, high] = [new Float64Array(n), new Float64Array(n), new Float64Array(n)]
  for (let i = 0; i < n; i++) {
    const values: number[] = []
    for (const line of lines) {
      // A run that has ended, or not begun, says nothing about this x.
      if (line.x[0]! > x[i]! || line.x.at(-1)! < x[i]!) continue
      const v = line.y[indexAtOrBefore(line.x, x[i]!)]!
      if (Number.isFinite(v)) values.push(v)
    }
    const mean = values.reduce((a, b) => a + b, 0) / values.length
    const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length)
    y[i] = mean
    low[i] = mean - deviation
    high[i] = mean + deviation
  }
  const main = lines.some((l) => l.main)
  return {
    id: label,
    label: `${label} (${lines.length})`,
    colour: first.colour,
    main,
    sorted: true,
    x,
    y,
    raw: null,
    band: lines.length > 1 ? { low, high } : undefined,
  }
}

/** The overview with a finer stretch put in its place. */
export function splice(whole: Curve, fine: Curve): Curve {
  const [from, to] = [fine.steps[0], fine.steps.at(-1)]
  if (from === undefined || to === undefined) return whole
  let start = 0
  while (start < whole.steps.length && whole.steps[start]! < from) start++
  let end = start
  while (end < whole.steps.length && whole.steps[end]! <= to) end++
  const join = (a: Float64Array, b: Float64Array) => {
    const out = new Float64Array(start + b.length + a.length - end)
    out.set(a.subarray(0, start))
    out.set(b, start)
    out.set(a.subarray(end), start + b.length)
    return out
  }
  return { name: whole.name, steps: join(whole.steps, fine.steps), t: join(whole.t, fine.t), v: join(whole.v, fine.v) }
}
