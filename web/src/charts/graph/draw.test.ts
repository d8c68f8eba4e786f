import { expect, it } from 'vitest'
import { SvgPen } from '../pen'
import { drawNetwork, networkSize } from './draw'
import { bendPath, bendPoints } from './way'

it('goes out to its lane and comes back to the column', () => {
  const bend = { from: 10, to: 90, x: 50, side: 20, short: 8 }
  expect(bendPath(bend)).toBe('M50 10H28Q20 10 20 18V82Q20 90 28 90H42')
  const points = bendPoints(bend)
  expect(points.slice(0, 2)).toEqual([50, 10])
  expect(points.slice(-2)).toEqual([42, 90])
  const xs = points.filter((_, i) => i % 2 === 0)
  expect(Math.min(...xs)).toBeCloseTo(20, 10)
})

it('draws every layer and arrow', () => {
  const node = { kind: 'Linear', shape: 'n × 3', count: '9', fill: null, small: false }
  const nodes = ['a', 'b', 'c'].map((name) => ({ ...node, name }))
  const picture = { nodes, spine: new Set([0, 1]), arrows: [{ source: 0, target: 2 }] }
  const ink = {
    ink: '#000',
    soft: '#111',
    faint: '#222',
    line: '#333',
    head: '#444',
    panel: '#fff',
    sel: '#eee',
    warn: '#f90',
  }
  const pen = new SvgPen('sans')
  drawNetwork(pen, ink, picture)
  const { width, height } = networkSize(picture)
  const drawn = pen.document(width, height)
  for (const name of ['a', 'b', 'c']) expect(drawn).toContain(`>${name}</text>`)
  // The jump with its head, and two pieces of the spine.
  expect(drawn.match(/<path /g)).toHaveLength(4)
})
