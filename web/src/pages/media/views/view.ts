/** What every view of a logged value is given. */
import type { MediaItemDocument } from '../../../wire/types'

export interface ViewProps {
  run: string
  item: MediaItemDocument
  small?: boolean
  large?: boolean
  /** Between which values those of the whole series lie, where that is known: one scale for all steps. */
  range?: { low: number; high: number } | null
  onopen?: () => void
}
