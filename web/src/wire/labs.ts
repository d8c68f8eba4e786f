/** Curves of all trials of a lab, as the wire packs them. */
import { decodeContainer, WireError } from './frames'

export interface TrialCurve {
  trial: number
  name: string
  steps: Float64Array
  epochs: Float64Array
  values: Float64Array
}

/** Reads the answer of /labs/…/curves. */
export function decodeLabCurves(buffer: ArrayBuffer): TrialCurve[] {
  const { facts, arrays } = decodeContainer(buffer)
  const { names } = facts as unknown as { names: string[] }
  const data = (name: string) => {
    const found = arrays[name]
    if (!found) throw new WireError(`EPF1: array ${name} is missing`)
    return found.data
  }
  const [trial, name, length] = [data('trial'), data('name'), data('length')]
  const [steps, epochs, values] = (['steps', 'epochs', 'values'] as const).map((one) => data(one) as Float64Array)
  let at = 0
  return Array.from(trial, (number, k) => {
    const end = at + length[k]!
    const part = (all: Float64Array) => all.subarray(at, end)
    const curve = {
      trial: number,
      name: names[name[k]!]!,
      steps: part(steps!),
      epochs: part(epochs!),
      values: part(values!),
    }
    at = end
    return curve
  })
}
