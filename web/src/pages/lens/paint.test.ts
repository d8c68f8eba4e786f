import { describe, expect, it } from 'vitest'
import { colourTable } from '../../maths/colourmaps'
import { enlarged, laidOver, opaque, scaleOf } from './paint'

describe('scaleOf', () => {
  it('is symmetric around zero where values are signed, and starts at zero where they are not', () => {
    expect(scaleOf([-2, 1], true, 1)).toEqual({ lo: -2, hi: 2, signed: true, clipped: false })
    expect(scaleOf([0, 4], false, 1)).toEqual({ lo: 0, hi: 4, signed: false, clipped: false })
  })
  it('leaves out a few that stick out, by the quantile between two values', () => {
    const values = Array.from({ length: 1001 }, (_, i) => i)
    values[1000] = 1e6
    const scale = scaleOf(values, false)
    expect(scale.hi).toBeCloseTo(995)
    expect(scale.clipped).toBe(true)
  })
  it('does not lose all where most are zero, and takes values that are not finite for none', () => {
    expect(scaleOf([0, 0, 0, 0, 5], false, 0.5).hi).toBe(5)
    expect(scaleOf([NaN, Infinity, 3], true, 1).hi).toBe(3)
    expect(scaleOf([], true).hi).toBe(1)
  })
})

describe('enlarged', () => {
  it('goes by straight lines between the middles of places', () => {
    // By hand: middles of four columns lie at -0.25, 0.25, 0.75 and 1.25 of two.
    expect([...enlarged(Float32Array.of(0, 4), 1, 2, 1, 4)]).toEqual([0, 1, 3, 4])
    expect([...enlarged(Float32Array.of(0, 4), 2, 1, 4, 1)]).toEqual([0, 1, 3, 4])
  })
  it('keeps a map of the same size', () => {
    const map = Float32Array.of(1, 2, 3, 4)
    expect(enlarged(map, 2, 2, 2, 2)).toBe(map)
  })
})

describe('laidOver', () => {
  const table = colourTable('viridis', 'light')
  const scale = { lo: 0, hi: 1, signed: false, clipped: false }
  const photo = Uint8Array.of(10, 20, 30, 200, 100, 50)
  const map = Float32Array.of(0, 1)
  const bad = [226, 170, 0] as const

  it('shows the photo alone at 0 and the colours alone at 1', () => {
    expect([...laidOver(map, scale, table, bad, photo, 0)]).toEqual([10, 20, 30, 255, 200, 100, 50, 255])
    const alone = [...laidOver(map, scale, table, bad, photo, 1)]
    expect(alone).toEqual([...laidOver(map, scale, table, bad, null, 0.3)])
    expect(alone.slice(4, 7)).toEqual([table[255]! & 255, (table[255]! >>> 8) & 255, (table[255]! >>> 16) & 255])
  })
  it('covers more where the map is strong', () => {
    const white = Uint8Array.of(255, 255, 255, 255, 255, 255)
    const dark = new Uint32Array(256).fill(0xff000000)
    const mixed = laidOver(map, scale, dark, bad, white, 0.5)
    expect(mixed[0]).toBe(Math.round(255 * (1 - 0.5 ** 4)))
    expect(mixed[4]).toBe(128)
  })
  it('marks what is not finite', () => {
    expect([...laidOver(Float32Array.of(NaN), scale, table, bad, null, 1)]).toEqual([226, 170, 0, 255])
  })
})

it('gives pictures an alpha', () => {
  expect([...opaque(Uint8Array.of(1, 2, 3))]).toEqual([1, 2, 3, 255])
})
