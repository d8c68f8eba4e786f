import { expect, it } from 'vitest'
import { chunksAround } from './chunks'

const steps = Array.from({ length: 200 }, (_, i) => i * 10)

it('fetches small films whole, and huge ones too, so that the server thins them evenly', () => {
  expect(chunksAround(steps, 144, 0)).toBeNull()
  expect(chunksAround(steps, 10_000_000, 0)).toBeNull()
})

it('begins at the playhead and covers every step once', () => {
  for (const at of [-5, 0, 3, 700, 1995, 99999]) {
    const chunks = chunksAround(steps, 784 * 128, at)!
    expect(chunks[0]!.start).toBeLessThanOrEqual(Math.max(0, Math.min(at, 1990)))
    expect(chunks[0]!.end).toBeGreaterThanOrEqual(Math.floor(Math.min(at, 1990) / 10) * 10)
    expect(chunks.length).toBeLessThan(8)
    const covered = steps.map((s) => chunks.filter((c) => c.start <= s && s <= c.end).length)
    expect(covered).toEqual(steps.map(() => 1))
  }
})
