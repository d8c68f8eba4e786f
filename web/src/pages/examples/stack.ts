/** Confidences of one example as areas on top of one another. Pure. */
import type { ExampleFilm } from '../../wire/predictions'

export interface Layer {
  /** The class; null for all that are not drawn by themselves. */
  k: number | null
  /** Which colour it has: that of its class, where each class has one of its own. */
  colour: number
  bottom: Float64Array
  top: Float64Array
}

/** The `most` classes that were ever likeliest, in their order from the bottom, and the others as one. */
export function stacked(film: ExampleFilm, most: number): Layer[] {
  const { classes, probabilities: p, steps } = film
  const peak = Float64Array.from({ length: classes }, (_, k) => {
    let best = 0
    for (let t = 0; t < steps.length; t += 1) best = Math.max(best, p[t * classes + k]! || 0)
    return best
  })
  const order = Array.from(peak.keys()).sort((a, b) => peak[b]! - peak[a]! || a - b)
  const own = order.slice(0, classes > most ? most - 1 : most).sort((a, b) => a - b)
  const layers: Layer[] = []
  let below = new Float64Array(steps.length)
  for (const k of own) {
    const top = below.map((v, t) => v + (p[t * classes + k]! || 0))
    layers.push({ k, colour: classes > 10 ? layers.length : k, bottom: below, top })
    below = top
  }
  if (own.length < classes) {
    const drawn = new Set(own)
    const top = below.map((v, t) => {
      let sum = v
      for (let k = 0; k < classes; k += 1) if (!drawn.has(k)) sum += p[t * classes + k]! || 0
      return sum
    })
    layers.push({ k: null, colour: -1, bottom: below, top })
  }
  return layers
}
