import { expect, test } from 'vitest'
import { asInput, canvasOf, centred, emptyGrid, planesOfRgba, strokeLine } from './drawing'

test('a stroke is dark in the middle, soft at the edge and nowhere else', () => {
  const grid = emptyGrid(28, 28)
  strokeLine(grid, { x: 4, y: 14 }, { x: 24, y: 14 })
  expect(grid.values[14 * 28 + 14]).toBe(1)
  expect(grid.values[13 * 28 + 14]).toBe(1)
  expect(grid.values[15 * 28 + 14]).toBeCloseTo(0.25)
  expect(grid.values[18 * 28 + 14]).toBe(0)
  strokeLine(grid, { x: 4, y: 14 }, { x: 24, y: 14 }, { wipe: true })
  expect(grid.values[14 * 28 + 14]).toBe(0)
})

test('a picture is moved to the middle without losing anything', () => {
  const grid = emptyGrid(8, 8)
  grid.values[0] = 0.5
  grid.values[1] = 0.5
  const moved = centred(grid)
  expect(moved.values[4 * 8 + 3]! + moved.values[4 * 8 + 4]! + moved.values[3 * 8 + 3]!).toBeGreaterThan(0)
  expect(moved.values.reduce((a, b) => a + b)).toBe(1)
  expect(centred(emptyGrid(4, 4)).values.every((v) => v === 0)).toBe(true)
})

test('dark on light is turned over, light on dark is not, clear counts as white', () => {
  const white = new Uint8ClampedArray(4 * 9).fill(255)
  white.set([0, 0, 0, 255], 16)
  const found = planesOfRgba(white, 3, 3, 1)
  expect(found[4]).toBeCloseTo(1)
  expect(found[0]).toBeCloseTo(0)
  const black = new Uint8ClampedArray(4 * 9)
  for (let i = 0; i < 9; i++) black[4 * i + 3] = 255
  black.set([255, 255, 255, 255], 16)
  expect(planesOfRgba(black, 3, 3, 1)[4]).toBeCloseTo(1)
  const colours = planesOfRgba([255, 0, 51, 255], 1, 1, 3)
  expect(Array.from(colours, (v) => Math.round(v * 100))).toEqual([100, 0, 20])
})

test('which inputs are pictures', () => {
  expect(canvasOf([28, 28])).toMatchObject({ height: 28, width: 28, channels: 1 })
  expect(canvasOf([1, 28, 20])).toMatchObject({ height: 28, width: 20, channels: 1 })
  expect(canvasOf([3, 32, 32])).toMatchObject({ channels: 3, last: false })
  expect(canvasOf([32, 32, 3])).toMatchObject({ channels: 3, last: true })
  expect(canvasOf([784])).toMatchObject({ height: 28 })
  expect(canvasOf([64])).toBeNull()
  expect(canvasOf([4])).toBeNull()
  expect(canvasOf([16, 16, 16])).toBeNull()
})

test('channels go where the network has them', () => {
  const planes = Float32Array.from([1, 2, 3, 4, 5, 6])
  expect(asInput(planes, { width: 2, height: 1, channels: 3, last: false })).toEqual([1, 2, 3, 4, 5, 6])
  expect(asInput(planes, { width: 2, height: 1, channels: 3, last: true })).toEqual([1, 3, 5, 2, 4, 6])
})
