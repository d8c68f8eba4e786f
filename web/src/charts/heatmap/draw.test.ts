import { expect, it } from 'vitest'
import { chosenRows, FAINTEST, paintCounts } from './draw'

const same = Uint32Array.from({ length: 256 }, (_, i) => i)

it('puts high values on top, leaves empty cells clear and gives the fullest cell the last colour', () => {
  const image = { columns: 2, rows: 2, cells: Float32Array.from([0, 1, 4, 2]), low: 0, high: 1, largest: 4 }
  const pixels = new Uint32Array(4)
  paintCounts(pixels, image, same, false)
  expect([...pixels]).toEqual([
    255,
    FAINTEST + Math.round((255 - FAINTEST) / 2),
    0,
    FAINTEST + Math.round((255 - FAINTEST) / 4),
  ])
  paintCounts(pixels, image, same, true)
  expect(pixels[0]).toBe(255)
  expect(pixels[3]).toBe(FAINTEST + Math.round(((255 - FAINTEST) * Math.log(2)) / Math.log(5)))
})

it('chooses rows evenly, with the shown one', () => {
  expect(chosenRows(3, 10, 1)).toEqual([0, 1, 2])
  expect(chosenRows(101, 5, 30)).toEqual([0, 25, 30, 50, 75, 100])
})
