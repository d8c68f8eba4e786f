/** Lines: units of biases at a step with where they have been, and weights through time. */

import { formatCount } from '../../maths/numbers'
import { drawXAxis, drawYAxis, toPixel, type Scale } from '../axes'
import type { Ink } from '../ink'
import type { Pen } from '../pen'

/** One layer of the chart of biases. */
export interface UnitLine {
  readonly name: string
  readonly color: string
  /** Values at the playhead, one a unit. */
  readonly values: Float32Array
  /** Values at earlier frames, oldest first. */
  readonly before: readonly Float32Array[]
}

/** Where a layer's line goes: its own stretch of the width. */
export interface UnitPlace {
  readonly left: number
  readonly right: number
  readonly line: number
}

const GAP = 28
const LEAST = 72

/**
 * Gives each layer a stretch of the width, wider for more units, flowing over several lines where many layers do not
 * fit into one.
 */
export function placeUnits(sizes: readonly number[], left: number, right: number): UnitPlace[] {
  const room = right - left
  const wish = sizes.map((n) => Math.max(LEAST, 26 * Math.sqrt(n) + 6 * Math.min(n, 40)))
  const lines: number[][] = []
  let used = Infinity
  wish.forEach((w, i) => {
    if (used + GAP + Math.min(w, room) > room) {
      lines.push([])
      used = -GAP
    }
    lines.at(-1)!.push(i)
    used += GAP + Math.min(w, room)
  })
  const places: UnitPlace[] = []
  lines.forEach((members, line) => {
    const total = members.reduce((s, i) => s + wish[i]!, 0)
    const free = room - GAP * (members.length - 1)
    // A last line with few layers keeps their size; the others fill the width.
    const stretch = line > 0 && line === lines.length - 1 ? Math.min(1, free / total) : free / total
    let at = left
    for (const i of members) {
      const width = wish[i]! * stretch
      places[i] = { left: at, right: at + width, line }
      at += width + GAP
    }
  })
  return places
}

/** Draws biases: per layer a line over its units, what it was before in grey under it. */
export function drawUnits(
  pen: Pen,
  ink: Ink,
  lines: readonly UnitLine[],
  places: readonly UnitPlace[],
  box: { left: number; right: number; lineHeight: number; low: number; high: number },
): void {
  const count = Math.max(0, ...places.map((p) => p.line + 1))
  for (let l = 0; l < count; l++) {
    const y: Scale = { low: box.low, high: box.high, from: (l + 1) * box.lineHeight - 22, to: l * box.lineHeight + 24 }
    const ends = places.filter((p) => p.line === l)
    drawYAxis(pen, ink, y, box.left, Math.max(...ends.map((p) => p.right)), { about: 4 })
    lines.forEach((line, i) => {
      const place = places[i]!
      if (place.line !== l) return
      const n = line.values.length
      const inset = n === 1 ? (place.right - place.left) / 2 : 6
      const x: Scale = { low: 0, high: Math.max(1, n - 1), from: place.left + inset, to: place.right - 6 }
      const points = (v: Float32Array) => {
        const out = new Float32Array(2 * n)
        for (let k = 0; k < n; k++) {
          out[2 * k] = toPixel(x, k)
          out[2 * k + 1] = toPixel(y, v[k]!)
        }
        return out
      }
      line.before.forEach((v, k) => {
        const alpha = 0.18 + 0.5 * ((k + 1) / line.before.length)
        if (n === 1) pen.dots(points(v), 1.5, ink.faint)
        else pen.line(points(v), { color: ink.faint, alpha: alpha * 0.7 })
      })
      const now = points(line.values)
      if (n > 1) pen.line(now, { color: line.color, width: 1.75 })
      if (n <= 48) pen.dots(now, n <= 24 ? 2.5 : 1.75, line.color)
      for (let k = 0; k < n; k++) {
        if (Number.isFinite(line.values[k]!)) continue
        pen.text('×', toPixel(x, k), y.from - 6, {
          color: ink.warn,
          weight: 700,
          size: 14,
          align: 'center',
          base: 'middle',
        })
      }
      pen.text(line.name, place.left + 2, l * box.lineHeight + 10, { color: line.color, weight: 550, base: 'middle' })
      const ticks = unitTicks(n, place.right - place.left)
      drawXAxis(pen, ink, x, y.from + 1, {
        ticks,
        labels: ticks.map((t) => formatCount(t)),
        marks: false,
        inside: false,
      })
    })
  }
}

/** Which units are labelled. */
export function unitTicks(n: number, width: number): number[] {
  const most = Math.max(2, Math.floor(width / 26))
  if (n <= most) return Array.from({ length: n }, (_, i) => i)
  const every = [2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((e) => n / e <= most) ?? n
  return Array.from({ length: Math.ceil(n / every) }, (_, i) => i * every)
}

/** The elements to draw of many: those whose value moved most over the film, at most `most`. */
export function mostMoved(
  value: (t: number, element: number) => number,
  total: number,
  size: number,
  most: number,
): Int32Array {
  if (size <= most) return Int32Array.from({ length: size }, (_, i) => i)
  const moved = new Float32Array(size)
  const every = Math.max(1, Math.floor(total / 16))
  for (let i = 0; i < size; i++) {
    let low = Infinity
    let high = -Infinity
    for (let t = 0; t < total; t += every) {
      const v = value(t, i)
      if (v < low) low = v
      if (v > high) high = v
    }
    const last = value(total - 1, i)
    moved[i] = Math.max(high, last) - Math.min(low, last)
  }
  const order = Array.from(moved.keys()).sort((a, b) => moved[b]! - moved[a]!)
  return Int32Array.from(order.slice(0, most)).sort()
}
