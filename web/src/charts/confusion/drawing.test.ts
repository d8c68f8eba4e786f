import { expect, test, vi } from 'vitest'
import { SvgPen } from '../pen'

vi.mock('../ink', () => ({ inkOf: () => ({ panel: '#fff', ink: '#111', soft: '#555', line: '#eee' }) }))
const { cellSize, matricesDrawing } = await import('./drawing')

const A = Uint32Array.of(3, 1, 0, 1, 1, 0, 0, 0, 2)
const B = Uint32Array.of(2, 0, 2, 1, 1, 0, 0, 0, 2)
const names = (k: number) => ['cat', 'dog & fox', 'cow'][k]!
const shared = { title: 'run', about: 'step 4', classes: 3, names, good: 'green', bad: 'red' }

function texts(sides: Parameters<typeof matricesDrawing>[0]['sides'], share: 'counts' | 'rows') {
  const { width, height, draw } = matricesDrawing({ ...shared, sides, share })
  const pen = new SvgPen('serif')
  draw(pen)
  const svg = pen.document(width, height)
  return { svg, said: Array.from(svg.matchAll(/<text[^>]*>([^<]*)</g), (m) => m[1]!) }
}

test('a saved matrix has its title, the names of classes at both sides, and every number', () => {
  const { said, svg } = texts([{ title: 'A', counts: A }], 'counts')
  expect(said.slice(0, 3)).toEqual(['run', 'step 4 · counts', 'A'])
  expect(said.filter((text) => text === 'cat')).toHaveLength(2)
  expect(said.filter((text) => text === 'dog &amp; fox')).toHaveLength(2)
  expect(said.slice(9)).toEqual(['3', '1', '1', '1', '2'])
  expect(svg.match(/fill="green"/g)).toHaveLength(3)
  expect(svg.match(/fill="red"/g)).toHaveLength(2)
})

test('of two, both are there and what the first has more', () => {
  const sides = [
    { title: 'A', counts: A },
    { title: 'B', counts: B },
    { title: 'A - B', counts: A, minus: B },
  ]
  expect(texts(sides, 'counts').said.slice(-3)).toEqual(['+1', '+1', '−2'])
  const { said } = texts(sides, 'rows')
  expect(said[1]).toBe('step 4 · % of the truth')
  expect(said.slice(-3)).toEqual(['+25', '+25', '−50'])
})

test('a thousand classes are a picture of dots, not of a million numbers', () => {
  expect(cellSize(1000, 8)).toEqual({ wide: 1, high: 1 })
  expect(cellSize(10, 1)).toEqual({ wide: 40, high: 24 })
  expect(cellSize(10, 30).wide).toBe(76)
})
