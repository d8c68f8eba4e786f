import { expect, test } from 'vitest'
import { decodeExample, decodeOutline } from './predictions'

/** A container as wire/frames.py packs it. */
function packed(facts: Record<string, unknown>, arrays: Record<string, [string, number[], ArrayBufferView]>) {
  const listed = Object.entries(arrays).map(([name, [dtype, shape]]) => ({ name, dtype, shape }))
  let text = JSON.stringify({ arrays: listed, ...facts })
  text += ' '.repeat((8 - ((8 + text.length) % 8)) % 8)
  const parts: Uint8Array[] = [new TextEncoder().encode('EPF1'), new Uint8Array(4), new TextEncoder().encode(text)]
  new DataView(parts[1]!.buffer).setUint32(0, text.length, true)
  for (const [, , view] of Object.values(arrays)) {
    parts.push(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
    parts.push(new Uint8Array((8 - (view.byteLength % 8)) % 8))
  }
  const whole = new Uint8Array(parts.reduce((n, part) => n + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole.buffer
}

const set = (examples: number, labels: boolean) => ({ examples, labels, classes: 3 })
const facts = { series: 'p', total: 3, stride: 1, unreadable: 0, blobs: ['a', 'b', 'c'], sets: [set(2, true), set(3, false)] } // prettier-ignore
const steps = new BigInt64Array([0n, 10n, 20n])

test('answers of sets of different sizes are told apart', () => {
  const found = decodeOutline(
    packed(facts, {
      steps: ['i8', [3], steps],
      of: ['u4', [3], Uint32Array.of(0, 1, 0)],
      predicted: ['u1', [7], Uint8Array.of(0, 1, 2, 2, 255, 1, 1)],
      labels: ['u4', [2], Uint32Array.of(0, 1)],
    }),
  )
  expect([...found.steps]).toEqual([0, 10, 20])
  expect(found.predicted.map((one) => [...one])).toEqual([[0, 1], [2, 2, 255], [1, 1]]) // prettier-ignore
  expect([...found.sets[0]!.truth!]).toEqual([0, 1])
  expect(found.sets[1]!.truth).toBeNull()
})

test('answers that do not fit their examples are refused', () => {
  const broken = packed(facts, {
    steps: ['i8', [3], steps],
    of: ['u4', [3], Uint32Array.of(0, 1, 0)],
    predicted: ['u1', [6], new Uint8Array(6)],
    labels: ['u4', [2], new Uint32Array(2)],
  })
  expect(() => decodeOutline(broken)).toThrow('do not fit')
  expect(() => decodeExample(packed({}, {}))).toThrow('missing')
})

test('one example at all steps', () => {
  const found = decodeExample(
    packed({}, { steps: ['i8', [3], steps], probabilities: ['f4', [3, 2], Float32Array.of(1, 0, 0.5, 0.5, 0, 1)] }),
  )
  expect(found.classes).toBe(2)
  expect([...found.probabilities]).toEqual([1, 0, 0.5, 0.5, 0, 1])
})
