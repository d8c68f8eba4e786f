import { describe, expect, it } from 'vitest'
import { readTensors } from './safetensors'

function file(entries: Record<string, { dtype: string; shape: number[]; bytes: Uint8Array }>): ArrayBuffer {
  let at = 0
  const header: Record<string, unknown> = { __metadata__: { kind: 'test' } }
  for (const [name, { dtype, shape, bytes }] of Object.entries(entries)) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] }
    at += bytes.length
  }
  const head = new TextEncoder().encode(JSON.stringify(header))
  const whole = new Uint8Array(8 + head.length + at)
  new DataView(whole.buffer).setBigUint64(0, BigInt(head.length), true)
  whole.set(head, 8)
  let place = 8 + head.length
  for (const { bytes } of Object.values(entries)) {
    whole.set(bytes, place)
    place += bytes.length
  }
  return whole.buffer
}

describe('safetensors', () => {
  it('are read whatever their type and place', () => {
    const found = readTensors(
      file({
        flag: { dtype: 'BOOL', shape: [1], bytes: new Uint8Array([1]) },
        wide: { dtype: 'F64', shape: [2], bytes: new Uint8Array(new Float64Array([1.5, -2]).buffer) },
        count: { dtype: 'I64', shape: [1, 2], bytes: new Uint8Array(new BigInt64Array([7n, -8n]).buffer) },
        half: { dtype: 'F16', shape: [4], bytes: new Uint8Array(new Uint16Array([0x3c00, 0xc100, 0x7c00, 1]).buffer) },
        brain: { dtype: 'BF16', shape: [1], bytes: new Uint8Array(new Uint16Array([0x3fc0]).buffer) },
      }),
    )
    expect([...found.get('wide')!.values]).toEqual([1.5, -2])
    expect([...found.get('count')!.values]).toEqual([7, -8])
    expect([...found.get('half')!.values]).toEqual([1, -2.5, Infinity, 2 ** -24])
    expect([...found.get('brain')!.values]).toEqual([1.5])
    expect(found.get('count')!.shape).toEqual([1, 2])
    expect(found.has('__metadata__')).toBe(false)
  })

  it('that are none are refused', () => {
    expect(() => readTensors(new ArrayBuffer(4))).toThrow()
    expect(() => readTensors(new Uint8Array(64).fill(255).buffer)).toThrow()
    const short = file({ a: { dtype: 'F32', shape: [9], bytes: new Uint8Array(4) } })
    expect(() => readTensors(short)).toThrow('a has 1 values')
  })
})
