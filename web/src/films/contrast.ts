/** A limit for colours that a few large values do not rule. */

import { bulkLimit } from '../maths/frames'
import type { Frames } from './frames'

/** How many frames are looked at: changes are large at first and small at the end, so one is not enough. */
const LOOKED_AT = 5

const known = new WeakMap<Frames, number>()

/** Where 99 % of the values end, in the frame where they reach furthest; the film's own limit where all are zero. */
export function strongLimit(frames: Frames): number {
  const kept = known.get(frames)
  if (kept !== undefined) return kept
  const total = frames.steps.length
  let limit = 0
  for (let k = 0; k < LOOKED_AT && total > 0; k++) {
    const t = Math.round((k * (total - 1)) / (LOOKED_AT - 1))
    limit = Math.max(
      limit,
      bulkLimit((i) => frames.value(t, i), frames.size),
    )
  }
  known.set(frames, limit || frames.limit)
  return limit || frames.limit
}
