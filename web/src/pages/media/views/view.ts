/** What every view of a logged value is given. */
import type { MediaItemDocument } from '../../../wire/types'

export interface ViewProps {
  run: string
  item: MediaItemDocument
  small?: boolean
  large?: boolean
  onopen?: () => void
}
