/** Tensors out of a safetensors file: an 8-byte length, a JSON header, the raw numbers. */
export interface Tensor {
  shape: number[]
  dtype: string
  /** As numbers; 64-bit integers are rounded to what a number holds. */
  values: Float64Array | Float32Array | Uint8Array | Int32Array | Int16Array | Int8Array | Uint16Array | Uint32Array
}

const AT_MOST = 256 << 20

/** Tensors by name; throws where the bytes are no such file. */
export function readTensors(bytes: ArrayBuffer): Map<string, Tensor> {
  const view = new DataView(bytes)
  const length = bytes.byteLength >= 8 ? Number(view.getBigUint64(0, true)) : Infinity
  if (length > Math.min(AT_MOST, bytes.byteLength - 8)) throw new Error('this is no safetensors file')
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length))) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  const found = new Map<string, Tensor>()
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const [from, to] = entry.data_offsets
    const count = entry.shape.reduce((a, b) => a * b, 1)
    if (!(from >= 0 && to >= from && 8 + length + to <= bytes.byteLength)) throw new Error(`${name} lies outside`)
    // A copy: the numbers need not lie at a multiple of their size.
    const part = bytes.slice(8 + length + from, 8 + length + to)
    const values = numbers(entry.dtype, part)
    if (values.length !== count) throw new Error(`${name} has ${values.length} values for its shape`)
    found.set(name, { shape: entry.shape, dtype: entry.dtype, values })
  }
  return found
}

function numbers(dtype: string, part: ArrayBuffer): Tensor['values'] {
  switch (dtype) {
    case 'F64':
      return new Float64Array(part)
    case 'F32':
      return new Float32Array(part)
    case 'F16':
      return Float32Array.from(new Uint16Array(part), half)
    case 'BF16': {
      const wide = Uint32Array.from(new Uint16Array(part), (bits) => bits << 16)
      return new Float32Array(wide.buffer)
    }
    case 'I64':
      return Float64Array.from(new BigInt64Array(part), Number)
    case 'U64':
      return Float64Array.from(new BigUint64Array(part), Number)
    case 'I32':
      return new Int32Array(part)
    case 'U32':
      return new Uint32Array(part)
    case 'I16':
      return new Int16Array(part)
    case 'U16':
      return new Uint16Array(part)
    case 'I8':
      return new Int8Array(part)
    case 'U8':
    case 'BOOL':
      return new Uint8Array(part)
    default:
      throw new Error(`tensors of ${dtype} cannot be shown`)
  }
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction ? NaN : sign * Infinity
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -14 * (fraction / 1024)
}
