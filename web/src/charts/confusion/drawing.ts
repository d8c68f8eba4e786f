/** Confusion matrices as a picture to save: one, or two with the difference, side by side with their names. */
import type { Share } from '../../maths/scores'
import { inkOf } from '../ink'
import type { Pen } from '../pen'
import type { Drawing } from '../saved'
import { cellsOf, differenceOf, strengthOf } from './cells'
import { confusionWords as w } from './words'

export interface Side {
  /** Written above it. */
  title: string
  /** [truth, prediction], row by row. */
  counts: Uint32Array
  /** The picture is of what `counts` has more than this. */
  minus?: Uint32Array | null
}

export interface Matrices {
  title: string
  about: string
  sides: readonly Side[]
  classes: number
  names: (k: number) => string
  share: Share
  good: string
  bad: string
}

const [MARGIN, GAP, HEAD, ABOVE, LETTER] = [16, 28, 62, 40, 6.3]
/** Beyond so many classes no number fits into a cell. */
const WRITTEN = 40
const short = (text: string, letters: number) =>
  text.length <= letters ? text : `${text.slice(0, Math.max(1, Math.floor(letters) - 1))}…`

/** Cells as large as their numbers and names want; of very many classes as large as a picture can be. */
export function cellSize(classes: number, longest: number): { wide: number; high: number } {
  if (classes > WRITTEN) {
    const side = Math.max(1, Math.floor(800 / classes))
    return { wide: side, high: side }
  }
  return { wide: classes > 24 ? 30 : Math.round(Math.min(76, Math.max(40, longest * LETTER + 8))), high: 24 }
}

/** The drawing of all sides. */
export function matricesDrawing({ title, about, sides, classes, names, share, good, bad }: Matrices): Drawing {
  const longest = Math.max(0, ...Array.from({ length: classes }, (_, k) => names(k).length))
  const { wide, high } = cellSize(classes, longest)
  const left = Math.min(20, longest) * LETTER + 10
  const one = Math.max(left + classes * wide, 240)
  const width = 2 * MARGIN + sides.length * one + (sides.length - 1) * GAP
  const height = HEAD + ABOVE + classes * high + MARGIN
  const draw = (pen: Pen) => {
    const ink = inkOf()
    pen.rect(0, 0, width, height, ink.panel)
    pen.text(short(title, (width - 2 * MARGIN) / 7), MARGIN, 24, { color: ink.ink, size: 13, weight: 600 })
    pen.text(short(`${about} · ${w.of(share)}`, (width - 2 * MARGIN) / LETTER), MARGIN, 42, {
      color: ink.soft,
      size: 12,
    })
    sides.forEach((side, place) => {
      const x0 = MARGIN + place * (one + GAP)
      const [x, y] = [x0 + left, HEAD + ABOVE]
      const { texts, tints } = side.minus
        ? differenceOf(side.counts, side.minus, classes, share)
        : cellsOf(side.counts, classes, share)
      pen.text(short(side.title, one / LETTER), x0, HEAD + 12, { color: ink.ink, size: 12, weight: 600 })
      const rows = Math.max(1, Math.ceil(13 / high))
      for (let k = 0; k < classes; k += rows)
        pen.text(short(names(k), 20), x - 6, y + (k + 0.5) * high, { color: ink.soft, align: 'right', base: 'middle' })
      const columns = Math.max(1, Math.ceil(Math.min(longest * LETTER + 4, 34) / wide))
      for (let k = 0; k < classes; k += columns) {
        const room = (columns * wide) / LETTER
        pen.text(short(names(k), room), x + (k + 0.5) * wide, y - 6, { color: ink.soft, align: 'center' })
      }
      for (let k = 0; k < classes * classes; k += 1) {
        const [cx, cy] = [x + (k % classes) * wide, y + Math.floor(k / classes) * high]
        const strength = strengthOf(tints[k]!)
        if (strength) pen.rect(cx, cy, wide, high, tints[k]! > 0 ? good : bad, strength)
        const text = classes > WRITTEN ? '' : texts[k]!
        if (text) {
          const size = Math.min(11, (wide - 3) / (0.58 * text.length))
          pen.text(text, cx + wide / 2, cy + high / 2, { color: ink.ink, size, align: 'center', base: 'middle' })
        }
      }
      const grid = classes > WRITTEN ? [0, classes] : Array.from({ length: classes + 1 }, (_, k) => k)
      for (const k of grid) {
        pen.rect(x + k * wide, y, 1, classes * high + 1, ink.line)
        pen.rect(x, y + k * high, classes * wide + 1, 1, ink.line)
      }
    })
  }
  return { width, height, draw }
}
