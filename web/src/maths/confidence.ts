/** How confidence is told: digits that mean nothing beside the rest are left out. */
import { formatPercent } from './numbers'

export function sureness(part: number): string {
  if (part > 0 && part < 0.001) return `<${formatPercent(0.001)}`
  if (part < 1 && part > 0.999) return `>${formatPercent(0.999)}`
  return formatPercent(part)
}

/** `93 %`; small and nearly whole shares are not rounded to nothing or all. */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return '–'
  const value = 100 * share
  if (value > 0 && value < 0.5) return '<1 %'
  if (value < 100 && value >= 99.5) return value >= 99.95 ? '>99.9 %' : `${value.toFixed(1)} %`
  return `${value.toFixed(0)} %`
}

/** `0.983`, `1.2e-7`: three digits. */
export function figure(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return '–'
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1)
  return value.toFixed(digits)
}
