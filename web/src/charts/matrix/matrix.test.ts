import { describe, expect, it } from 'vitest'
import { cellsAt, matrixLayout, rectangleOf } from './layout'
import { newScratch, paintMatrix, paintWindow } from './paint'

/** A table in which a byte stands for itself, so that pixels can be read as bytes. */
const same = Uint32Array.from({ length: 256 }, (_, i) => i)

describe('laying out a matrix', () => {
  it('draws a small one in squares of at most 17 pixels', () => {
    const layout = matrixLayout(12, 4, true, { width: 900, height: 260 })
    expect(layout).toMatchObject({ cellWidth: 17, cellHeight: 17, line: 1, shownRows: 12, shownColumns: 4 })
    expect(layout.bias).toEqual({ left: 4 * 17 + 8, width: 17 })
    expect([layout.width, layout.height]).toEqual([4 * 17 + 8 + 17, 12 * 17])
  })

  it('fits 784 x 128 without dropping a cell, and drops only when it must', () => {
    const wide = matrixLayout(128, 784, true, { width: 980, height: 260 })
    expect(wide).toMatchObject({ cellWidth: 1, cellHeight: 2, shownColumns: 784, shownRows: 128, line: 0 })
    const narrow = matrixLayout(128, 784, true, { width: 500, height: 260 })
    expect(narrow.shownColumns).toBeLessThan(784)
    expect(narrow.width).toBeLessThanOrEqual(500)
    const large = matrixLayout(4096, 4096, false, { width: 600, height: 260 })
    expect([large.width, large.height]).toEqual([600, 260])
  })

  it('stays inside the room', () => {
    for (const rows of [1, 3, 10, 128, 1000])
      for (const columns of [1, 4, 30, 784, 5000])
        for (const ratio of [1, 1.5, 2]) {
          const layout = matrixLayout(rows, columns, true, { width: 640, height: 260 }, ratio)
          expect(layout.width).toBeLessThanOrEqual(640 * ratio)
          expect(layout.height).toBeLessThanOrEqual(260 * ratio)
        }
  })

  it('finds the cell under a pixel and the pixels of a cell', () => {
    const layout = matrixLayout(12, 4, true, { width: 900, height: 260 })
    expect(cellsAt(layout, 18, 35)).toEqual({ row: 2, column: 1, rows: 1, columns: 1 })
    expect(cellsAt(layout, layout.bias!.left + 3, 0)).toMatchObject({ row: 0, column: -1 })
    expect(cellsAt(layout, 4 * 17 + 2, 0)).toBeNull()
    expect(cellsAt(layout, 0, layout.height)).toBeNull()
    expect(rectangleOf(layout, { row: 2, column: 1 })).toEqual({ x: 17, y: 34, width: 17, height: 17 })
    const small = matrixLayout(10, 1000, false, { width: 100, height: 10 })
    expect(cellsAt(small, 3, 4)).toEqual({ row: 4, column: 30, rows: 1, columns: 10 })
  })
})

describe('painting a matrix', () => {
  it('fills each cell, leaves lines clear and puts the bias beside', () => {
    const layout = matrixLayout(2, 2, true, { width: 31, height: 10 })
    expect([layout.cellWidth, layout.line]).toEqual([5, 1])
    const pixels = new Uint32Array(layout.width * layout.height)
    paintMatrix(pixels, layout, Uint8Array.from([1, 2, 3, 4]), same, Uint8Array.from([5, 6]), same, newScratch())
    const at = (x: number, y: number) => pixels[y * layout.width + x]
    expect([at(0, 0), at(3, 3), at(5, 0), at(0, 5), at(8, 8)]).toEqual([1, 1, 2, 3, 4])
    expect([at(4, 0), at(0, 4), at(11, 0)]).toEqual([0, 0, 0])
    expect([at(layout.bias!.left, 0), at(layout.bias!.left, 6)]).toEqual([5, 6])
  })

  it('shows the largest magnitude of what falls on a pixel', () => {
    const layout = matrixLayout(1, 400, false, { width: 100, height: 10 })
    const frame = new Uint8Array(400).fill(130)
    frame[202] = 7
    const pixels = new Uint32Array(layout.width * layout.height)
    paintMatrix(pixels, layout, frame, same, null, same, newScratch())
    expect(pixels[50]).toBe(7)
    expect(pixels.filter((p) => p === 7)).toHaveLength(layout.cellHeight)
  })

  it('crosses out what is not finite where there is room', () => {
    const layout = matrixLayout(1, 1, false, { width: 17, height: 17 })
    const pixels = new Uint32Array(17 * 17).fill(99)
    const table = same.slice()
    table[0] = 42
    paintMatrix(pixels, layout, Uint8Array.from([0]), table, null, table, newScratch())
    expect(pixels[0]).toBe(42)
    expect(pixels.filter((p) => p === 0xff000000).length).toBeGreaterThan(15)
  })
})

describe('a window on a matrix', () => {
  const frame = Uint8Array.from({ length: 100 }, (_, i) => 100 + (i % 50))
  it('magnifies without blending', () => {
    const pixels = new Uint32Array(8 * 8)
    paintWindow(pixels, 8, 8, frame, 10, 10, { x: 2, y: 1, scaleX: 4, scaleY: 4 }, same)
    expect([pixels[0], pixels[3], pixels[4], pixels[4 * 8]]).toEqual([frame[12], frame[12], frame[13], frame[22]])
  })

  it('shows the largest magnitude when it shrinks', () => {
    const pixels = new Uint32Array(5 * 5)
    const dark = new Uint8Array(100).fill(128)
    dark[57] = 1
    paintWindow(pixels, 5, 5, dark, 10, 10, { x: 0, y: 0, scaleX: 0.5, scaleY: 0.5 }, same)
    expect(pixels[2 * 5 + 3]).toBe(1)
    expect(pixels.filter((p) => p === 1)).toHaveLength(1)
  })

  it('is clear outside the matrix', () => {
    const pixels = new Uint32Array(4 * 4).fill(5)
    paintWindow(pixels, 4, 4, frame, 10, 10, { x: -2, y: -2, scaleX: 1, scaleY: 1 }, same)
    expect([pixels[0], pixels[2 * 4 + 2], pixels[2 * 4 + 1]]).toEqual([0, frame[0], 0])
  })
})
