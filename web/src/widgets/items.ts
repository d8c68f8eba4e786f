/** What a menu offers. */
import type { IconName } from './icons'

export interface MenuItem {
  label: string
  icon?: IconName
  danger?: boolean
  /** Draws a tick before it; the menu then stays open. */
  checked?: boolean
  disabled?: boolean
  act: () => void
}
