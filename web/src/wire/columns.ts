/** Scalars: an Arrow stream with the columns name, step, t, v, turned into one series of numbers a name. */
import { tableFromIPC } from '@uwdata/flechette'

/** Points of one series in step order; values may be NaN or infinite. */
export interface Curve {
  name: string
  steps: Float64Array
  /** Unix seconds. */
  t: Float64Array
  v: Float64Array
}

interface Batch {
  length: number
  values: ArrayLike<number | bigint>
  dictionary?: { at(i: number): unknown }
  at(i: number): unknown
}

/** One plain array of a column's numbers, steps being 64-bit integers. */
function numbers(batches: readonly Batch[], length: number): Float64Array {
  const out = new Float64Array(length)
  let at = 0
  for (const { values, length: n } of batches) {
    if (values instanceof Float64Array) out.set(values.subarray(0, n), at)
    else for (let i = 0; i < n; i++) out[at + i] = Number(values[i])
    at += n
  }
  return out
}

/** Reads the answer of /scalars; rows of a series may lie in several stretches. */
export function decodeScalars(bytes: Uint8Array): Map<string, Curve> {
  const table = tableFromIPC(bytes, { useBigInt: true })
  const column = (name: string) => table.getChild(name) as unknown as { data: readonly Batch[]; length: number } | null
  const [names, step, t, v] = [column('name'), column('step'), column('t'), column('v')]
  const curves = new Map<string, Curve>()
  if (!names || !step || !t || !v) return curves

  // Stretches of equal names, found by dictionary index: a run of 1 M rows has as many names as series.
  const stretches = new Map<string, [number, number][]>()
  let row = 0
  for (const batch of names.data) {
    for (let i = 0; i < batch.length;) {
      const at = (j: number) => (batch.dictionary ? batch.values[j] : batch.at(j))
      const key = at(i)
      let end = i + 1
      while (end < batch.length && at(end) === key) end++
      const name = String(batch.dictionary ? batch.dictionary.at(Number(key)) : key)
      const list = stretches.get(name)
      if (list) list.push([row + i, row + end])
      else stretches.set(name, [[row + i, row + end]])
      i = end
    }
    row += batch.length
  }

  const [steps, times, values] = [numbers(step.data, row), numbers(t.data, row), numbers(v.data, row)]
  for (const [name, list] of stretches) {
    const pick = (from: Float64Array) => {
      if (list.length === 1) return from.subarray(...list[0]!)
      const out = new Float64Array(list.reduce((n, [a, b]) => n + b - a, 0))
      let at = 0
      for (const [a, b] of list) {
        out.set(from.subarray(a, b), at)
        at += b - a
      }
      return out
    }
    curves.set(name, { name, steps: pick(steps), t: pick(times), v: pick(values) })
  }
  return curves
}

/** Two stretches of a series, the second one newer; where they overlap the newer one holds. */
export function joinCurves(old: Curve, more: Curve): Curve {
  const first = more.steps[0]
  if (first === undefined) return old
  let keep = old.steps.length
  while (keep > 0 && old.steps[keep - 1]! >= first) keep--
  const join = (a: Float64Array, b: Float64Array) => {
    const out = new Float64Array(keep + b.length)
    out.set(a.subarray(0, keep))
    out.set(b, keep)
    return out
  }
  return { name: old.name, steps: join(old.steps, more.steps), t: join(old.t, more.t), v: join(old.v, more.v) }
}
