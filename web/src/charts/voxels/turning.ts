/**
 * Small pictures that turn with a large one: some of them in each frame, coarse while they turn and fine when they rest, so
 * that the one that is looked at is not held up. Those out of sight, or behind a dialog, wait until all rests.
 */

/** Draws a picture at a share of its full size. */
export type Paint = (part: number) => void

const A_FRAME_MS = 5
const COARSE = 0.5
const RESTS_AFTER_MS = 160

/** To be drawn in the next frames, and once more when nothing turns any more. */
const moving = new Map<Element, Paint>()
const resting = new Map<Element, Paint>()
let frame = 0
let timer: ReturnType<typeof setTimeout> | undefined

/** Draws a picture soon; the newest way to do so counts. */
export function turned(picture: Element, paint: Paint): void {
  resting.set(picture, paint)
  // One that waits already keeps its place: all get their turn.
  if (moving.has(picture) || seen(picture)) moving.set(picture, paint)
  clearTimeout(timer)
  timer = setTimeout(rest, RESTS_AFTER_MS)
  if (moving.size) ask(() => some(moving, COARSE))
}

/** Forgets a picture: it is gone, or was drawn anew by other means. */
export function settled(picture: Element): void {
  moving.delete(picture)
  resting.delete(picture)
}

function rest(): void {
  moving.clear()
  ask(() => {
    some(resting, 1)
    if (resting.size) rest()
  })
}

function ask(draw: () => void): void {
  cancelAnimationFrame(frame)
  frame = requestAnimationFrame(() => {
    frame = 0
    draw()
  })
}

function some(pictures: Map<Element, Paint>, part: number): void {
  const start = performance.now()
  for (const [picture, paint] of pictures) {
    pictures.delete(picture)
    paint(part)
    if (performance.now() - start > A_FRAME_MS) return
  }
}

function seen(picture: Element): boolean {
  const over = document.querySelector('dialog[open]')
  if (over && !over.contains(picture)) return false
  const { top, bottom } = picture.getBoundingClientRect()
  return bottom > 0 && top < innerHeight
}
