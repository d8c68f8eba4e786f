/**
 * Colour maps as tables of 256 pixels, computed from a few anchors by a smooth curve through OKLab.
 *
 * How many: blue, from the surface. Magnitudes: viridis, cividis, magma, gray. Signed values: `diverging`, blue through a neutral zero to red, one
 * for a light and one for a dark surface, so that zero is quiet on both.
 */

import { labFromRgb, pixelFromRgb, rgbFromHex, rgbFromLab, type Lab, type Rgb } from './colour'

export type Theme = 'light' | 'dark'
export type MapName = 'blue' | 'viridis' | 'cividis' | 'magma' | 'gray' | 'diverging'

export const MAP_NAMES: readonly MapName[] = ['blue', 'viridis', 'cividis', 'magma', 'gray', 'diverging']

/** Evenly spaced anchors, low to high. */
const ANCHORS: Record<Exclude<MapName, 'diverging' | 'blue'>, readonly string[]> = {
  viridis: [
    '#440154',
    '#482878',
    '#3e4a89',
    '#31688e',
    '#26838f',
    '#1f9d8a',
    '#36b779',
    '#6dcd59',
    '#b4de2c',
    '#fde725',
  ],
  cividis: [
    '#00224e',
    '#123570',
    '#3b496c',
    '#575d6d',
    '#707173',
    '#8a8678',
    '#a59c74',
    '#c3b369',
    '#e1cc55',
    '#fee838',
  ],
  magma: ['#000004', '#180f3e', '#451077', '#721f81', '#9f2f7f', '#cd4071', '#f1605d', '#fd9567', '#fec98d', '#fcfdbf'],
  gray: ['#0b0b0b', '#f7f7f7'],
}

/** Anchors of the signed map from most negative to most positive; the middle one is zero. */
const DIVERGING: Record<Theme, readonly string[]> = {
  light: ['#123f7a', '#2166ac', '#5b97c9', '#a9cae2', '#f7f6f3', '#f3b8a6', '#dd6f62', '#b2182b', '#7d0b22'],
  dark: ['#a5d3ff', '#5aa5ec', '#2a6fb8', '#22426b', '#1e2024', '#6b2530', '#b52a3c', '#f0655f', '#ffb9a6'],
}

/** How many: the surface where there are none. */
const COUNTS: Record<Theme, readonly string[]> = {
  light: ['#ffffff', '#bdd2ec', '#3b6fb6', '#10254a'],
  dark: ['#191b1e', '#27487a', '#5b95dd', '#e6f1fd'],
}

/** How fast colour leaves zero: below 1 small weights still show. */
const DIVERGING_POWER = 0.85

/** Marks a cell that is not a number, or infinite: a hue that no map for signed values has. */
export const NONFINITE: Record<Theme, Rgb> = { light: [226, 170, 0], dark: [255, 208, 64] }

const tables = new Map<string, Uint32Array>()

/** The table of a map, 256 pixels from low to high. */
export function colourTable(name: MapName, theme: Theme): Uint32Array {
  const key = `${name} ${theme}`
  let table = tables.get(key)
  if (!table) {
    if (name === 'diverging') table = divergingTable(DIVERGING[theme])
    else table = tableFromAnchors(name === 'blue' ? COUNTS[theme] : ANCHORS[name])
    tables.set(key, table)
  }
  return table
}

/**
 * The table for frames of bytes: byte 1 is -limit, 128 is zero, 255 is +limit, and byte 0, which says "not a
 * finite number", has the colour of that.
 */
export function frameTable(theme: Theme): Uint32Array {
  const key = `frame ${theme}`
  let table = tables.get(key)
  if (!table) {
    const labs = DIVERGING[theme].map((h) => labFromRgb(rgbFromHex(h)))
    table = new Uint32Array(256)
    table[0] = pixelFromRgb(NONFINITE[theme])
    for (let i = 1; i < 256; i++) table[i] = pixelFromRgb(rgbFromLab(diverging(labs, (i - 128) / 127)))
    tables.set(key, table)
  }
  return table
}

/** The colour of a signed value as a part of its limit, -1 to 1. */
export function divergingRgb(part: number, theme: Theme): Rgb {
  return rgbFromLab(
    diverging(
      DIVERGING[theme].map((h) => labFromRgb(rgbFromHex(h))),
      part,
    ),
  )
}

function tableFromAnchors(anchors: readonly string[]): Uint32Array {
  const labs = anchors.map((h) => labFromRgb(rgbFromHex(h)))
  return Uint32Array.from({ length: 256 }, (_, i) => pixelFromRgb(rgbFromLab(curve(labs, i / 255))))
}

function divergingTable(anchors: readonly string[]): Uint32Array {
  const labs = anchors.map((h) => labFromRgb(rgbFromHex(h)))
  return Uint32Array.from({ length: 256 }, (_, i) => pixelFromRgb(rgbFromLab(diverging(labs, (i - 127.5) / 127.5))))
}

/** The two arms are curves of their own, so that the kink at zero stays a kink and neither overshoots into the other. */
function diverging(labs: readonly Lab[], part: number): Lab {
  const middle = (labs.length - 1) / 2
  const p = Math.min(1, Math.abs(part)) ** DIVERGING_POWER
  return part < 0 ? curve(labs.slice(0, middle + 1), 1 - p) : curve(labs.slice(middle), p)
}

/** A smooth curve through evenly spaced points that never overshoots them (Fritsch and Carlson's slopes). */
function curve(points: readonly Lab[], at: number): Lab {
  const n = points.length - 1
  const x = Math.max(0, Math.min(n, at * n))
  const i = Math.min(n - 1, Math.floor(x))
  const t = x - i
  const out: [number, number, number] = [0, 0, 0]
  for (let c = 0; c < 3; c++) {
    const y0 = points[i]![c]!
    const y1 = points[i + 1]![c]!
    const d = y1 - y0
    const m0 = slope(i > 0 ? y0 - points[i - 1]![c]! : d, d)
    const m1 = slope(d, i + 1 < n ? points[i + 2]![c]! - y1 : d)
    const t2 = t * t
    const t3 = t2 * t
    out[c] = (2 * t3 - 3 * t2 + 1) * y0 + (t3 - 2 * t2 + t) * m0 + (3 * t2 - 2 * t3) * y1 + (t3 - t2) * m1
  }
  return out
}

/** Harmonic mean of two differences: zero where they turn, so no new extreme appears between points. */
function slope(before: number, after: number): number {
  return before * after <= 0 ? 0 : (2 * before * after) / (before + after)
}
