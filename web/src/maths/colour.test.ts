import { describe, expect, it } from 'vitest'
import {
  contrast,
  cssFromPixel,
  hexFromRgb,
  labFromRgb,
  pixelFromRgb,
  rgbFromHex,
  rgbFromLab,
  type Rgb,
} from './colour'
import { colourTable, divergingRgb, frameTable, MAP_NAMES, NONFINITE } from './colourmaps'

const rgbAt = (table: Uint32Array, i: number): Rgb => [table[i]! & 255, (table[i]! >> 8) & 255, (table[i]! >> 16) & 255]

describe('colour', () => {
  it('has the OKLab values published for white and the primaries', () => {
    const published: [string, number[]][] = [
      ['#ffffff', [1, 0, 0]],
      ['#ff0000', [0.628, 0.2249, 0.1258]],
      ['#00ff00', [0.8664, -0.2339, 0.1795]],
      ['#0000ff', [0.452, -0.0325, -0.3115]],
    ]
    for (const [hex, lab] of published) {
      labFromRgb(rgbFromHex(hex)).forEach((v, i) => expect(v).toBeCloseTo(lab[i]!, 3))
    }
  })

  it('comes back from OKLab unchanged', () => {
    for (const rgb of [
      [0, 0, 0],
      [255, 255, 255],
      [33, 102, 172],
      [12, 200, 99],
    ] as Rgb[])
      expect(rgbFromLab(labFromRgb(rgb))).toEqual(rgb)
  })

  it('reads and writes hex, pixels and css', () => {
    expect(hexFromRgb(rgbFromHex('#0a1b2c'))).toBe('#0a1b2c')
    expect(cssFromPixel(pixelFromRgb([1, 2, 250]))).toBe('rgb(1, 2, 250)')
    expect([...new Uint8Array(new Uint32Array([pixelFromRgb([1, 2, 250])]).buffer)]).toEqual([1, 2, 250, 255])
  })

  it('measures contrast as WCAG says', () => {
    expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21, 5)
    expect(contrast([119, 119, 119], [255, 255, 255])).toBeCloseTo(4.48, 2)
  })
})

describe('colour maps', () => {
  it('come close to the published tables between the anchors', () => {
    // Values of the published tables at indices that are no anchors.
    const published: [Parameters<typeof colourTable>[0], number, Rgb][] = [
      ['viridis', 128, [33, 145, 140]],
      ['viridis', 42, [67, 61, 132]],
      ['viridis', 213, [144, 215, 67]],
      ['magma', 128, [183, 55, 121]],
      ['magma', 42, [44, 17, 95]],
      ['cividis', 128, [125, 124, 120]],
    ]
    for (const [name, index, rgb] of published) {
      rgbAt(colourTable(name, 'light'), index).forEach((v, c) => expect(Math.abs(v - rgb[c]!)).toBeLessThanOrEqual(6))
    }
  })

  it('get steadily lighter from low to high', () => {
    for (const name of MAP_NAMES.filter((n) => n !== 'diverging')) {
      const table = colourTable(name, 'dark')
      for (let i = 1; i < 256; i++) {
        const step = labFromRgb(rgbAt(table, i))[0] - labFromRgb(rgbAt(table, i - 1))[0]
        expect(step, `${name} at ${i}`).toBeGreaterThan(-0.004)
      }
    }
  })

  it('put zero of the signed map on the surface and leave it steadily on both sides', () => {
    for (const theme of ['light', 'dark'] as const) {
      const table = frameTable(theme)
      expect(rgbAt(table, 128)).toEqual(divergingRgb(0, theme))
      const zero = labFromRgb(rgbAt(table, 128))
      const away = (i: number) => Math.hypot(...labFromRgb(rgbAt(table, i)).map((v, c) => v - zero[c]!))
      for (let i = 129; i < 256; i++) expect(away(i), `${theme} ${i}`).toBeGreaterThan(away(i - 1) - 0.02)
      for (let i = 127; i > 0; i--) expect(away(i), `${theme} ${i}`).toBeGreaterThan(away(i + 1) - 0.02)
      expect(rgbAt(table, 0)).toEqual([...NONFINITE[theme]])
    }
  })
})
