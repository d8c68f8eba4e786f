/** The way of an arrow round layers: out to the left, down its lane with round corners, and back. */

export interface Bend {
  readonly from: number
  readonly to: number
  /** Where the column of layers stands, and the lane. */
  readonly x: number
  readonly side: number
  /** How far before the column it ends, for the head of the arrow. */
  readonly short: number
}

/** As the path of an SVG. */
export function bendPath({ from, to, x, side, short }: Bend): string {
  const { r, down } = corner({ from, to, x, side, short })
  return (
    `M${x} ${from}H${side + r}Q${side} ${from} ${side} ${from + down * r}` +
    `V${to - down * r}Q${side} ${to} ${side + r} ${to}H${x - short}`
  )
}

/** As points, the corners cut into short lines. */
export function bendPoints(bend: Bend): number[] {
  const { from, to, x, side, short } = bend
  const { r, down } = corner(bend)
  const points = [x, from]
  for (let i = 0; i <= 6; i++) {
    const a = ((i / 6) * Math.PI) / 2
    points.push(side + r - r * Math.sin(a), from + down * (r - r * Math.cos(a)))
  }
  for (let i = 0; i <= 6; i++) {
    const a = ((i / 6) * Math.PI) / 2
    points.push(side + r - r * Math.cos(a), to - down * (r - r * Math.sin(a)))
  }
  points.push(x - short, to)
  return points
}

function corner({ from, to, x, side }: Bend): { r: number; down: number } {
  return { r: Math.min(8, Math.abs(to - from) / 2, x - side), down: Math.sign(to - from) || 1 }
}

/** Pixels between lanes: fewer where there are many. */
export function laneStep(lanes: number): number {
  return lanes > 12 ? Math.max(4, 132 / lanes) : 11
}
