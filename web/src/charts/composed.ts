/** What stands in a part of the page, canvases and the words over them, as one canvas to save. */
import { inkOf } from './ink'
import { pageFont } from './pen'

const SIZE = 12

/** All canvases inside an element where they stand, with the captions of figures; null where there is none. */
export function composed(root: Element, ratio = devicePixelRatio || 1): HTMLCanvasElement | null {
  const parts = [...root.querySelectorAll<HTMLElement>('canvas, figcaption')].map((element) => ({
    element,
    box: element.getBoundingClientRect(),
  }))
  if (!parts.some(({ element }) => element instanceof HTMLCanvasElement)) return null
  const left = Math.min(...parts.map(({ box }) => box.left))
  const top = Math.min(...parts.map(({ box }) => box.top))
  const whole = document.createElement('canvas')
  whole.width = Math.max(1, Math.round((Math.max(...parts.map(({ box }) => box.right)) - left) * ratio))
  whole.height = Math.max(1, Math.round((Math.max(...parts.map(({ box }) => box.bottom)) - top) * ratio))
  const g = whole.getContext('2d')!
  g.imageSmoothingEnabled = false
  g.fillStyle = inkOf().soft
  g.font = `${SIZE * ratio}px ${pageFont()}`
  g.textBaseline = 'middle'
  for (const { element, box } of parts) {
    const [x, y] = [Math.round((box.left - left) * ratio), Math.round((box.top - top) * ratio)]
    if (element instanceof HTMLCanvasElement) g.drawImage(element, x, y, box.width * ratio, box.height * ratio)
    else g.fillText(element.textContent.trim(), x, y + (box.height * ratio) / 2)
  }
  return whole
}
