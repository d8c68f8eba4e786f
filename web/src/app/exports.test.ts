import { expect, test } from 'vitest'
import { commandFor, formatBytes, formatsFor } from './exports'

test('only a page holds everything, and only what the server can make is offered', () => {
  expect(formatsFor('all', ['gif', 'html', 'csv'])).toEqual(['html'])
  expect(formatsFor('weights', ['csv', 'gif'])).toEqual(['gif', 'csv'])
  expect(formatsFor('lens/class_images', ['gif', 'html', 'csv', 'parquet'])).toEqual(['gif', 'csv'])
  expect(formatsFor('confusion', ['gif', 'svg', 'html', 'csv', 'parquet'])).toEqual(['gif', 'svg', 'csv'])
})

test('the command has what was chosen, quoted for a shell', () => {
  const query = { what: 'weights', format: 'gif', steps: '0:150', layers: "it's *", fps: 12, size: null, cmap: null }
  expect(commandFor('iris/2026', query, 'w.gif')).toBe(
    `epochal export iris/2026 --what weights --steps 0:150 --layers 'it'\\''s *' --fps 12 --to w.gif`,
  )
})

test('sizes', () => expect([512, 20_480, 3_210_000].map(formatBytes)).toEqual(['512 B', '20.5 kB', '3.21 MB']))
