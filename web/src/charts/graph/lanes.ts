/** Gives arrows that jump over layers lanes of their own beside the column of layers, so that none hides another. */

export interface Span {
  /** Places of the two ends in the column, in any order. */
  readonly from: number
  readonly to: number
}

/** An arrow between two rows of the column of layers. */
export interface Arrow {
  readonly source: number
  readonly target: number
  readonly skip: boolean
}

/** The lane of each span, 0 nearest to the column. Short spans come first, so arcs nest instead of crossing. */
export function lanes(spans: readonly Span[]): number[] {
  const order = spans.map((s, i) => ({ i, low: Math.min(s.from, s.to), high: Math.max(s.from, s.to) }))
  order.sort((a, b) => a.high - a.low - (b.high - b.low) || a.low - b.low || a.i - b.i)
  const taken: { low: number; high: number }[][] = []
  const out = new Array<number>(spans.length).fill(0)
  for (const { i, low, high } of order) {
    let lane = 0
    // Ends may touch: one arrow may start where another arrives.
    while (taken[lane]?.some((t) => t.low < high && low < t.high)) lane++
    ;(taken[lane] ??= []).push({ low, high })
    out[i] = lane
  }
  return out
}
