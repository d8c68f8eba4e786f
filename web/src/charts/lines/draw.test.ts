import { describe, expect, it } from 'vitest'
import { SvgPen } from '../pen'
import { drawUnits, mostMoved, placeUnits, unitTicks } from './draw'

describe('placing layers side by side', () => {
  it('fills one line, wider for more units', () => {
    const places = placeUnits([12, 12, 3], 40, 940)
    expect(places.map((p) => p.line)).toEqual([0, 0, 0])
    expect(places[0]!.left).toBe(40)
    expect(places[2]!.right).toBeCloseTo(940, 6)
    expect(places[0]!.right - places[0]!.left).toBeGreaterThan(places[2]!.right - places[2]!.left)
    expect(places[1]!.left).toBeGreaterThan(places[0]!.right)
  })

  it('flows over lines when there are many, never past the edge', () => {
    const places = placeUnits(new Array(40).fill(64), 0, 900)
    expect(Math.max(...places.map((p) => p.line))).toBeGreaterThan(3)
    for (const p of places) expect(p.right).toBeLessThanOrEqual(900.001)
  })
})

describe('drawing units', () => {
  it('puts each unit at its value', () => {
    const pen = new SvgPen('sans')
    const ink = {
      ink: '#000',
      soft: '#111',
      faint: '#222',
      line: '#333',
      head: '#444',
      panel: '#fff',
      sel: '#eee',
      warn: '#fa0',
    }
    const values = Float32Array.from([1, -1])
    const box = { left: 0, right: 106, lineHeight: 146, low: -1, high: 1 }
    drawUnits(pen, ink, [{ name: 'a', color: '#f00', values, before: [] }], [{ left: 0, right: 106, line: 0 }], box)
    // From 24 px (the highest value) to 124 px (the lowest), 6 px in from both sides.
    expect(pen.document(106, 146)).toContain('<path d="M6 24L100 124" fill="none" stroke="#f00"')
  })

  it('labels as many units as fit', () => {
    expect(unitTicks(3, 100)).toEqual([0, 1, 2])
    expect(unitTicks(12, 200)).toEqual([0, 2, 4, 6, 8, 10])
    expect(unitTicks(128, 400)).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
  })
})

it('chooses the weights that moved most', () => {
  const film = [
    [0, 5, 0, 1],
    [0, 5, 3, 1],
    [1, 5, 0, -9],
  ]
  expect([...mostMoved((t, i) => film[t]![i]!, 3, 4, 2)]).toEqual([2, 3])
  expect([...mostMoved((t, i) => film[t]![i]!, 3, 4, 9)]).toEqual([0, 1, 2, 3])
})
