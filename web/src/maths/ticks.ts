/** Where to put tick marks: round numbers, about as many as were asked for. */

/** Steps of 1, 2, 2.5 or 5 times a power of ten that lie inside [low, high]. */
export function niceTicks(low: number, high: number, about = 5): number[] {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return []
  if (low === high) return [low]
  if (low > high) [low, high] = [high, low]
  const step = niceStep((high - low) / Math.max(1, about))
  const first = Math.ceil(low / step - 1e-9)
  const last = Math.floor(high / step + 1e-9)
  const ticks: number[] = []
  for (let i = first; i <= last; i++) ticks.push(i === 0 ? 0 : Number((i * step).toPrecision(12)))
  return ticks
}

/** The smallest round step that is at least about `rough`. */
export function niceStep(rough: number): number {
  if (!(rough > 0) || !Number.isFinite(rough)) return 1
  const power = 10 ** Math.floor(Math.log10(rough))
  const lead = rough / power
  for (const nice of [1, 2, 2.5, 5]) if (lead <= nice * 1.0001) return nice * power
  return 10 * power
}

/** Ticks for counts: whole numbers only. */
export function countTicks(high: number, about = 4): number[] {
  return [...new Set(niceTicks(0, high, about).filter(Number.isInteger))]
}

/** Powers of ten inside [low, high], thinned to about as many as asked. */
export function logTicks(low: number, high: number, about = 5): number[] {
  if (!(low > 0) || !(high >= low) || !Number.isFinite(high)) return []
  const first = Math.ceil(Math.log10(low) - 1e-9)
  const last = Math.floor(Math.log10(high) + 1e-9)
  const every = Math.max(1, Math.ceil((last - first + 1) / Math.max(1, about)))
  const ticks: number[] = []
  for (let e = first; e <= last; e += every) ticks.push(Number(`1e${e}`))
  return ticks
}

/** The smallest round number that is at least `v`, for the end of an axis that starts at zero. */
export function niceCeiling(v: number): number {
  if (!(v > 0) || !Number.isFinite(v)) return 1
  return niceStep(v)
}
