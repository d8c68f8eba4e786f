/** How confidence is told: digits that mean nothing beside the rest are left out. */
import { formatPercent } from './numbers'

export function sureness(part: number): string {
  if (part > 0 && part < 0.001) return `<${formatPercent(0.001)}`
  if (part < 1 && part > 0.999) return `>${formatPercent(0.999)}`
  return formatPercent(part)
}
