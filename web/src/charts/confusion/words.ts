/** Words of confusion matrices. Sentence case, no full stop. */
import type { Share } from '../../maths/scores'

const SHARE: Record<Share, string> = { counts: 'Counts', rows: 'Of truth', columns: 'Of prediction' }

export const confusionWords = {
  about: 'rows: truth, columns: prediction',
  share: SHARE,
  of: (share: Share) => ({ counts: 'counts', rows: '% of the truth', columns: '% of the prediction' })[share],
  shareLabel: 'Cells show',
  cell: (n: number, truth: string, said: string) => `${n.toLocaleString('en')} of class ${truth} predicted as ${said}`,
  seen: (cell: string, text: string) => `${cell}: ${text}`,
  difference: (a: number, b: number, truth: string, said: string) =>
    `class ${truth} predicted as ${said}: A ${a.toLocaleString('en')}, B ${b.toLocaleString('en')}`,
}
