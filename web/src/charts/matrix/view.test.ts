import { describe, expect, it } from 'vitest'
import { cellUnder, fitted, panned, zoomed } from './view'

const extent = { rows: 128, columns: 784, width: 980, height: 500 }

describe('looking at a part of a matrix', () => {
  it('begins with the whole of it, in the middle', () => {
    const view = fitted(extent)
    expect(view).toMatchObject({ scaleX: 1, scaleY: 3 })
    expect(cellUnder(view, 0, 250, extent)).toBeNull()
    expect(cellUnder(view, 98, 58, extent)).toEqual({ row: 0, column: 0 })
    expect(cellUnder(view, 98 + 783, 58 + 3 * 127 + 2, extent)).toEqual({ row: 127, column: 783 })
  })

  it('keeps the cell under the mouse while it zooms', () => {
    let view = fitted(extent)
    const at = { x: 400, y: 200 }
    const cell = cellUnder(view, at.x, at.y, extent)
    for (let i = 0; i < 6; i++) view = zoomed(view, 1.5, at, extent)
    expect(cellUnder(view, at.x, at.y, extent)).toEqual(cell)
    expect(view.scaleX).toBeCloseTo(1.5 ** 6, 6)
  })

  it('never zooms out further than the whole, nor pans off it', () => {
    const whole = fitted(extent)
    expect(zoomed(whole, 0.2, { x: 3, y: 3 }, extent)).toEqual(whole)
    let view = whole
    for (let i = 0; i < 8; i++) view = zoomed(view, 2, { x: 0, y: 0 }, extent)
    view = panned(view, 1e6, 1e6, extent)
    expect([view.x, view.y]).toEqual([0, 0])
    view = panned(view, -1e6, -1e6, extent)
    expect(view.x + extent.width / view.scaleX).toBeCloseTo(784, 6)
    expect(view.y + extent.height / view.scaleY).toBeCloseTo(128, 6)
  })
})
