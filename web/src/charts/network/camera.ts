/** Which part of a network is on the screen. Pure. */

export interface Camera {
  /** What stands at the left and top edge, in units of the picture. */
  readonly x: number
  readonly y: number
  /** Screen pixels per unit. */
  readonly k: number
}

export interface Size {
  readonly width: number
  readonly height: number
}

export const NEAREST = 3
export const FARTHEST = 0.04

/** All of it where it can still be read, else its beginning. */
export function firstCamera(picture: Size, screen: Size): Camera {
  const whole = fitCamera(picture, screen)
  if (whole.k >= 0.72) return whole
  const k = Math.min(1, Math.max(0.72, (screen.width - 32) / picture.width))
  return { k, x: picture.width / 2 - screen.width / 2 / k, y: -12 / k }
}

export function fitCamera(picture: Size, screen: Size): Camera {
  const k = limit(Math.min(1.25, (screen.width - 32) / picture.width, (screen.height - 32) / picture.height))
  return { k, x: picture.width / 2 - screen.width / 2 / k, y: picture.height / 2 - screen.height / 2 / k }
}

/** Nearer or farther by a factor, the point at (px, py) of the screen staying where it is. */
export function zoomed(camera: Camera, factor: number, px: number, py: number): Camera {
  const k = limit(camera.k * factor)
  return { k, x: camera.x + px / camera.k - px / k, y: camera.y + py / camera.k - py / k }
}

/** Moved by pixels of the screen; some of the picture always stays on it. */
export function moved(camera: Camera, dx: number, dy: number, picture: Size, screen: Size): Camera {
  const [w, h] = [screen.width / camera.k, screen.height / camera.k]
  const held = (at: number, room: number, size: number) => Math.max(-0.7 * room, Math.min(size - 0.3 * room, at))
  return { k: camera.k, x: held(camera.x - dx / camera.k, w, picture.width), y: held(camera.y - dy / camera.k, h, picture.height) } // prettier-ignore
}

/** Moved as little as needed for a box to be on the screen; a box that is too large shows its upper left corner. */
export function reveal(
  camera: Camera,
  box: { x: number; y: number; width: number; height: number },
  screen: Size,
): Camera {
  const margin = 24 / camera.k
  const along = (at: number, room: number, start: number, length: number) => {
    if (start - margin < at) return start - margin
    if (start + length + margin > at + room) return Math.min(start - margin, start + length + margin - room)
    return at
  }
  return {
    k: camera.k,
    x: along(camera.x, screen.width / camera.k, box.x, box.width),
    y: along(camera.y, screen.height / camera.k, box.y, Math.min(box.height, 120)),
  }
}

/** As it stands in the address; null when that says nothing. */
export function cameraFromText(text: string): Camera | null {
  const parts = text.split(',').map(Number)
  if (parts.length !== 3 || !parts.every(Number.isFinite)) return null
  return { x: parts[0]!, y: parts[1]!, k: limit(parts[2]!) }
}

export const cameraText = ({ x, y, k }: Camera) => `${Math.round(x)},${Math.round(y)},${Number(k.toPrecision(3))}`

const limit = (k: number) => Math.max(FARTHEST, Math.min(NEAREST, k || 1))
