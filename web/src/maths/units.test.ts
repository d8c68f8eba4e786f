import { expect, test } from 'vitest'
import { influences, product, strongest, unitOrder } from './units'

const rows = [
  [1, 0, 0],
  [0, -3, 0],
  [2, 0.1, 0],
  [0, -4, 0.2],
]
const value = (i: number) => rows[Math.floor(i / 3)]![i % 3]!

test('influence is the mean magnitude of a row', () => {
  expect(Array.from(influences(value, 4, 3), (v) => Math.round(v * 1000) / 1000)).toEqual([0.333, 1, 0.7, 1.4])
})

test('orders of units', () => {
  expect(unitOrder('index', value, 4, 3)).toBeNull()
  expect(Array.from(unitOrder('influence', value, 4, 3)!)).toEqual([3, 1, 2, 0])
  // 3 and 1 point the same way; then the two that point the other way, 0 at right angles before 2, which opposes a little.
  expect(Array.from(unitOrder('similarity', value, 4, 3)!)).toEqual([3, 1, 0, 2])
})

test('an order holds every unit once, also where weights are not numbers', () => {
  const odd = (i: number) => (i < 3 ? Number.NaN : value(i))
  for (const order of ['influence', 'similarity'] as const)
    expect(Array.from(unitOrder(order, odd, 4, 3)!).sort()).toEqual([0, 1, 2, 3])
})

test('products of layers', () => {
  const matrix = (values: number[][]) => ({
    rows: values.length,
    columns: values[0]!.length,
    value: (i: number) => values.flat()[i]!,
  })
  const first = matrix([
    [1, 2],
    [3, 4],
    [5, 6],
  ])
  const last = matrix([[1, -1, 2]])
  const found = product([first, last])
  expect(found).toMatchObject({ rows: 1, columns: 2 })
  expect(Array.from(found.values)).toEqual([8, 10])
  expect(Array.from(product([last]).values)).toEqual([1, -1, 2])
})

test('the strongest come first, and what is no number before them', () => {
  expect(strongest([1, NaN, 3, -5, NaN], 4)).toEqual([1, 4, 3, 2])
  expect(strongest([1, -5, 3, 5], 3)).toEqual([1, 3, 2])
})
