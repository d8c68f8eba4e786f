import { expect, it } from 'vitest'
import { strongLimit } from './contrast'
import { RecordedFrames } from './frames'

it('ends where the bulk of the widest frame ends', () => {
  const size = 1000
  const data = new Float32Array(3 * size)
  // Frame 1 spreads to 2, the others to 1; one value sticks out of each.
  for (let t = 0; t < 3; t++)
    for (let i = 0; i < size; i++) data[t * size + i] = (((i * 37) % size) / size) * (t === 1 ? 2 : 1)
  data[0] = data[size] = data[2 * size] = 40
  const stack = {
    encoding: 'f4' as const,
    limit: 40,
    nonfinite: 0,
    total: 3,
    stride: 1,
    steps: [0, 1, 2],
    shape: [size],
    size,
    data,
  }
  expect(strongLimit(new RecordedFrames([stack]))).toBeCloseTo(1.98, 1)
  const zeros = { ...stack, limit: 0, data: new Float32Array(3 * size) }
  expect(strongLimit(new RecordedFrames([zeros]))).toBe(0)
})
