/** In which pieces a large film is fetched: what the playhead shows first, then outwards from there. */

/** First and last step of a piece, both included. */
export interface Chunk {
  readonly start: number
  readonly end: number
}

/** A film smaller than this comes in one piece. */
export const ONE_PIECE_BYTES = 3 * 1024 * 1024
/** The first piece is small, so that something is seen at once. */
const FIRST_BYTES = 1024 * 1024
const NEXT_BYTES = 6 * 1024 * 1024
/** Above this the server leaves frames out, and it can only do so evenly when it is asked for all of them. */
const MOST_BYTES = 64 * 1024 * 1024

/**
 * The pieces of a film whose steps are known, in the order to fetch them; null when it should be asked for whole.
 * `size` is numbers per frame, each of which comes as one byte.
 */
export function chunksAround(steps: readonly number[], size: number, at: number): Chunk[] | null {
  const bytes = steps.length * size
  if (bytes <= ONE_PIECE_BYTES || bytes > MOST_BYTES) return null
  const chunk = (from: number, to: number): Chunk => ({ start: steps[from]!, end: steps[to]! })
  let middle = steps.findLastIndex((s) => s <= at)
  if (middle < 0) middle = 0
  const first = Math.max(1, Math.floor(FIRST_BYTES / size))
  const next = Math.max(1, Math.floor(NEXT_BYTES / size))
  let from = Math.max(0, middle - Math.floor(first / 2))
  let to = Math.min(steps.length - 1, from + first - 1)
  const chunks = [chunk(from, to)]
  while (from > 0 || to < steps.length - 1) {
    // The side that lies nearer to the playhead goes on.
    if (to < steps.length - 1 && (from === 0 || to - middle <= middle - from)) {
      const end = Math.min(steps.length - 1, to + next)
      chunks.push(chunk(to + 1, end))
      to = end
    } else {
      const start = Math.max(0, from - next)
      chunks.push(chunk(start, from - 1))
      from = start
    }
  }
  return chunks
}
