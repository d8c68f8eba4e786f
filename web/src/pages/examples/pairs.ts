/** Which classes are taken for which others most often. Pure. */
export interface Pair {
  truth: number
  said: number
  count: number
}

/** The largest cells beside the diagonal, the largest first; equals in the order of the matrix. */
export function confusedPairs(counts: Uint32Array, classes: number, most: number): Pair[] {
  const found: Pair[] = []
  for (let k = 0; k < counts.length; k += 1) {
    const [truth, said] = [Math.floor(k / classes), k % classes]
    const count = counts[k]!
    if (count && truth !== said) found.push({ truth, said, count })
  }
  return found.sort((a, b) => b.count - a.count).slice(0, most)
}
