/** Finding a step in a growing list of steps. */

/** Index of the last entry that is at most `at`; -1 when all are later. */
export function indexAtOrBefore(steps: ArrayLike<number>, at: number): number {
  let low = 0
  let high = steps.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (steps[middle]! <= at) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** Index of the entry shown at a playhead: at or before it, or the first one when all are later; -1 if there is none. */
export function indexShown(steps: ArrayLike<number>, at: number): number {
  return steps.length === 0 ? -1 : Math.max(0, indexAtOrBefore(steps, at))
}

/** Index of the nearest entry; -1 if there is none. */
export function indexNearest(steps: ArrayLike<number>, at: number): number {
  const i = indexAtOrBefore(steps, at)
  if (i < 0) return steps.length ? 0 : -1
  if (i + 1 >= steps.length) return i
  return at - steps[i]! <= steps[i + 1]! - at ? i : i + 1
}
