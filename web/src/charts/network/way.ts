/** The way of an arrow as a line: bent smoothly through its points, or, as an arc, with round corners. */

/** As the path of an SVG. */
export function wayPath(points: readonly number[], arc: boolean): string {
  return arc ? roundPath(points) : smoothPath(points)
}

function smoothPath(p: readonly number[]): string {
  const n = p.length / 2
  let path = `M${r(p[0]!)} ${r(p[1]!)}`
  if (n === 2) {
    const [x0, y0, x1, y1] = p as readonly [number, number, number, number]
    if (Math.abs(x0 - x1) < 0.5) return `${path}V${r(y1)}`
    const middle = (y0 + y1) / 2
    return `${path}C${r(x0)} ${r(middle)} ${r(x1)} ${r(middle)} ${r(x1)} ${r(y1)}`
  }
  for (let i = 1; i < n - 1; i++) {
    const last = i === n - 2
    const x = last ? p[2 * i + 2]! : (p[2 * i]! + p[2 * i + 2]!) / 2
    const y = last ? p[2 * i + 3]! : (p[2 * i + 1]! + p[2 * i + 3]!) / 2
    path += `Q${r(p[2 * i]!)} ${r(p[2 * i + 1]!)} ${r(x)} ${r(y)}`
  }
  return path
}

function roundPath(p: readonly number[]): string {
  let path = `M${r(p[0]!)} ${r(p[1]!)}`
  for (let i = 1; i < p.length / 2 - 1; i++) {
    const [ax, ay, bx, by, cx, cy] = [p[2 * i - 2]!, p[2 * i - 1]!, p[2 * i]!, p[2 * i + 1]!, p[2 * i + 2]!, p[2 * i + 3]!] // prettier-ignore
    const before = Math.hypot(bx - ax, by - ay)
    const after = Math.hypot(cx - bx, cy - by)
    const radius = Math.min(8, before / 2, after / 2)
    if (radius < 0.5) {
      path += `L${r(bx)} ${r(by)}`
      continue
    }
    const [x0, y0] = [bx + ((ax - bx) / before) * radius, by + ((ay - by) / before) * radius]
    const [x1, y1] = [bx + ((cx - bx) / after) * radius, by + ((cy - by) / after) * radius]
    path += `L${r(x0)} ${r(y0)}Q${r(bx)} ${r(by)} ${r(x1)} ${r(y1)}`
  }
  return `${path}L${r(p.at(-2)!)} ${r(p.at(-1)!)}`
}

/** As points of short lines, for pens that know no bends. */
export function wayPoints(points: readonly number[], arc: boolean): number[] {
  if (arc || points.length > 4) return [...points]
  const [x0, y0, x1, y1] = points as readonly [number, number, number, number]
  const middle = (y0 + y1) / 2
  const out: number[] = []
  for (let i = 0; i <= 12; i++) {
    const t = i / 12
    const [a, b, c, d] = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3]
    out.push(x0 * (a + b) + x1 * (c + d), y0 * a + middle * (b + c) + y1 * d)
  }
  return out
}

const r = (v: number) => Math.round(v * 10) / 10
