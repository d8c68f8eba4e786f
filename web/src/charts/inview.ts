/** Tells which rows of a tall column of equal rows can be seen, so that play draws only those. */

import type { Attachment } from 'svelte/attachments'

/** The first row, and one past the last. */
export type Rows = readonly [from: number, to: number]

/** Rows that lie between two heights, with some to spare on both sides. */
export function rowsBetween(top: number, bottom: number, rowHeight: number, spare = 8): Rows {
  const from = Math.max(0, Math.floor(top / rowHeight) - spare)
  return [from, Math.max(from, Math.ceil(bottom / rowHeight) + spare)]
}

/** Tells again when the page scrolls or its size changes. */
export function rowsInView(rowHeight: number, tell: (rows: Rows) => void): Attachment {
  return (element) => {
    const root = document.getElementById('page') ?? document.documentElement
    let before: Rows = [-1, -1]
    const look = () => {
      const top = root.getBoundingClientRect().top - element.getBoundingClientRect().top
      const rows = rowsBetween(top, top + root.clientHeight, rowHeight)
      if (rows[0] !== before[0] || rows[1] !== before[1]) tell((before = rows))
    }
    const sizes = new ResizeObserver(look)
    sizes.observe(root)
    root.addEventListener('scroll', look, { passive: true })
    return () => {
      sizes.disconnect()
      root.removeEventListener('scroll', look)
    }
  }
}
