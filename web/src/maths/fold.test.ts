import { describe, expect, it } from 'vitest'
import { matrixShape, pictureShape, tileLayout, tileShape } from './fold'

describe('folding rows to pictures', () => {
  it('takes what the network says its input is', () => {
    expect(pictureShape(784, [-1, 1, 28, 28])).toEqual({ height: 28, width: 28, channels: 1 })
    expect(pictureShape(600, [-1, 20, 30])).toEqual({ height: 20, width: 30, channels: 1 })
    expect(pictureShape(3072, [-1, 3, 32, 32])).toEqual({ height: 32, width: 32, channels: 3 })
  })

  it('else takes a square, grey or in colour', () => {
    expect(pictureShape(784)).toEqual({ height: 28, width: 28, channels: 1 })
    expect(pictureShape(64, [-1, 64])).toEqual({ height: 8, width: 8, channels: 1 })
    expect(pictureShape(3072)).toEqual({ height: 32, width: 32, channels: 3 })
  })

  it('sees no picture in a small table', () => {
    for (const n of [4, 9, 12, 13, 16, 30]) expect(pictureShape(n)).toBeNull()
  })
})

describe('tiles', () => {
  it('are rows of the first layer only', () => {
    expect(tileShape([128, 784], null, true)).toMatchObject({ down: 128, across: 1, height: 28, downStride: 784 })
    expect(tileShape([128, 784], null, false)).toBeNull()
  })

  it('are kernels of a convolution', () => {
    expect(tileShape([16, 8, 3, 3], null, false)).toMatchObject({
      down: 16,
      across: 8,
      acrossStride: 9,
      downStride: 72,
    })
    expect(tileShape([16, 3, 5, 5], null, false)).toMatchObject({ down: 16, across: 1, channels: 3, flows: true })
    expect(tileShape([16, 1, 5, 5], null, false)).toMatchObject({ across: 1, channels: 1, flows: true })
    expect(tileShape([16, 8, 1, 1], null, false)).toBeNull()
    expect(tileShape([16, 8, 5], null, false)).toMatchObject({ height: 1, width: 5 })
  })

  it('are as large as the room allows, in whole pixels', () => {
    const tiles = tileShape([128, 784], null, true)!
    const layout = tileLayout(tiles, { width: 960, height: 400 })
    expect(layout.width).toBeLessThanOrEqual(960)
    expect(layout.height).toBeLessThanOrEqual(400)
    expect(layout.perLine * layout.lines).toBeGreaterThanOrEqual(128)
    expect(tileLayout(tiles, { width: 30, height: 30 }).pixel).toBe(1)
    const told = tileLayout(tiles, { width: 960, height: 900 }, 8, 30)
    expect(told.height).toBe(told.lines * (28 * told.pixel + told.gap + 30) - told.gap)
  })

  it('and matrices have units down', () => {
    expect(matrixShape([16, 8, 3, 3])).toEqual({ rows: 16, columns: 72 })
    expect(matrixShape([5])).toEqual({ rows: 5, columns: 1 })
    expect(matrixShape([])).toEqual({ rows: 1, columns: 1 })
  })
})
