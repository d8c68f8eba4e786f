/**
 * From which side a block is seen, without perspective. Pure.
 *
 * A block is an array [depth, row, column]: columns go to the right, rows down, depth away from the viewer, so that the
 * untouched front is the first slice as a picture. `yaw` turns it about the vertical, `pitch` then about the horizontal.
 */

export interface Pose {
  /** Radians. */
  yaw: number
  pitch: number
  /** 1: whichever way it is turned, the whole block fits. */
  zoom: number
}

export type Vector = readonly [number, number, number]
/** Rows: where the screen's right, down and away point in the block (x: column, y: row, z: depth). */
export type Turn = readonly [Vector, Vector, Vector]
export type Sides = readonly [depth: number, height: number, width: number]

export const USUAL: Pose = { yaw: -0.62, pitch: 0.5, zoom: 1 }
export const FRONT: Pose = { yaw: 0, pitch: 0, zoom: 1 }
const [LEAST_ZOOM, MOST_ZOOM] = [0.4, 12]

/** Where the light comes from, as the viewer sees it: from the upper left, in front. */
const LIGHT: Vector = [-0.38, -0.76, -0.53]

/** The six sides of a voxel: which way they look. */
export const FACES: readonly Vector[] = [
  [-1, 0, 0],
  [1, 0, 0],
  [0, -1, 0],
  [0, 1, 0],
  [0, 0, -1],
  [0, 0, 1],
]

export function turnOf({ yaw, pitch }: Pick<Pose, 'yaw' | 'pitch'>): Turn {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)]
  return [
    [cy, 0, sy],
    [sp * sy, cp, -sp * cy],
    [-cp * sy, sp, cp * cy],
  ]
}

export const dot = (a: Vector, b: Vector): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2]

/** Screen pixels that the side of a voxel has, where the picture is so large. */
export function pixelsOf([d, h, w]: Sides, zoom: number, width: number, height: number): number {
  return (zoom * Math.min(width, height)) / (Math.hypot(d, h, w) * 1.04)
}

/** The zoom at which a block fills a square picture as it is turned now. */
export function filling([d, h, w]: Sides, turn: Turn): number {
  // How far its box reaches on the screen: the sum over its sides.
  const reach = (row: Vector) => Math.abs(row[0]) * w + Math.abs(row[1]) * h + Math.abs(row[2]) * d
  return Math.hypot(d, h, w) / Math.max(reach(turn[0]), reach(turn[1]))
}

/** Where a point of the block is on a picture: pixels from its upper left, and how far away (in voxels). */
export function project(point: Vector, turn: Turn, [d, h, w]: Sides, scale: number, width: number, height: number) {
  const p: Vector = [point[0] - w / 2, point[1] - h / 2, point[2] - d / 2]
  return {
    x: width / 2 + scale * dot(turn[0], p),
    y: height / 2 + scale * dot(turn[1], p),
    away: dot(turn[2], p),
  }
}

/** How bright a side is, 0.7 to 1; null where it looks away from the viewer. */
export function brightness(face: Vector, turn: Turn): number | null {
  const seen: Vector = [dot(turn[0], face), dot(turn[1], face), dot(turn[2], face)]
  if (seen[2] >= -1e-9) return null
  return 0.7 + 0.3 * Math.max(0, dot(seen, LIGHT))
}

/** Turned by a drag of so many pixels on a picture of this size: half its width is a quarter turn. */
export function dragged(pose: Pose, dx: number, dy: number, size: number): Pose {
  const by = Math.PI / Math.max(120, size)
  return bounded({ ...pose, yaw: pose.yaw - dx * by, pitch: pose.pitch + dy * by })
}

export const zoomed = (pose: Pose, factor: number): Pose => bounded({ ...pose, zoom: pose.zoom * factor })

/** Full turns are taken off, it does not tip over, and neither vanishes nor fills the sky. */
export function bounded({ yaw, pitch, zoom }: Pose): Pose {
  const full = 2 * Math.PI
  const own = (v: number, usual: number) => (Number.isFinite(v) ? v : usual)
  const turned = own(yaw, USUAL.yaw)
  return {
    yaw: turned - full * Math.round(turned / full),
    pitch: Math.max(-Math.PI / 2, Math.min(Math.PI / 2, own(pitch, USUAL.pitch))),
    zoom: Math.max(LEAST_ZOOM, Math.min(MOST_ZOOM, own(zoom, 1))),
  }
}

/** `-35.5,28.6,1`: degrees and zoom, as the address holds them. */
export function writePose({ yaw, pitch, zoom }: Pose): string {
  const round = (v: number, digits: number) => String(Number(v.toFixed(digits)))
  return [round((yaw * 180) / Math.PI, 1), round((pitch * 180) / Math.PI, 1), round(zoom, 2)].join(',')
}

export function readPose(text: string): Pose {
  const parts = text.split(',').map(Number)
  if (parts.length !== 3 || !parts.every(Number.isFinite)) return USUAL
  return bounded({ yaw: (parts[0]! * Math.PI) / 180, pitch: (parts[1]! * Math.PI) / 180, zoom: parts[2]! })
}
