/** Numbers as people read them: true minus signs, thin groups, no false digits. */

const MINUS = '\u2212'
const NARROW = '\u202f'

/** NaN and infinities in one spelling, null for a finite number. */
export function nonfinite(v: number): string | null {
  if (Number.isNaN(v)) return 'NaN'
  if (v === Infinity) return '+∞'
  if (v === -Infinity) return `${MINUS}∞`
  return null
}

/** A value to about `digits` significant digits: `0.2531`, `−1.2`, `3.4e−7`, `12,345`. */
export function formatValue(v: number, digits = 4): string {
  const special = nonfinite(v)
  if (special !== null) return special
  if (v === 0) return '0'
  const size = Math.abs(v)
  if (size >= 1e-4 && size < 10 ** Math.max(6, digits)) {
    const places = Math.max(0, Math.min(20, digits - 1 - Math.floor(Math.log10(size))))
    return sign(group(trim(v.toFixed(places))))
  }
  return sign(tidyExponent(v.toExponential(Math.max(0, digits - 1))))
}

/** The shortest decimal that reads back as the same float32 (or float64): what was recorded, all of it. */
export function formatExact(v: number, bits: 32 | 64 = 32): string {
  const special = nonfinite(v)
  if (special !== null) return special
  if (bits === 64 || Math.fround(v) !== v) return sign(tidyExponent(String(v)))
  for (let p = 1; p <= 9; p++) {
    const short = Number(v.toPrecision(p))
    if (Math.fround(short) === v) return sign(tidyExponent(String(short)))
  }
  return sign(tidyExponent(String(v)))
}

/** A value with its sign always written, as on both ends of a signed colour scale. */
export function formatSigned(v: number, digits = 2): string {
  const text = formatValue(v, digits)
  return v > 0 && text !== '0' && !text.startsWith('+') ? `+${text}` : text
}

/** Whole numbers with groups: `100,352`. */
export function formatCount(n: number): string {
  return nonfinite(n) ?? sign(group(String(Math.round(n))))
}

/** Counts in little room: `7,850`, `101 k`, `25.6 M`. */
export function formatCompact(n: number): string {
  const size = Math.abs(n)
  for (const [unit, power] of [
    ['T', 1e12],
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (size >= power * (power === 1e3 ? 10 : 0.9995)) return `${formatValue(n / power, 3)}${NARROW}${unit}`
  }
  return formatCount(n)
}

/** Bytes, in powers of a thousand: `1,020 B`, `159 kB`. */
export function formatBytes(n: number): string {
  const text = formatCompact(n)
  return /[a-zA-Z]$/.test(text) ? `${text}B` : `${text}${NARROW}B`
}

/** A part of one as a percentage. */
export function formatPercent(part: number, digits = 3): string {
  return nonfinite(part) ?? `${formatValue(part * 100, digits)}${NARROW}%`
}

/** A label for each tick, all with the same decimals so that they line up. */
export function formatTicks(ticks: readonly number[]): string[] {
  const finite = ticks.filter((t) => Number.isFinite(t))
  if (finite.length === 0) return ticks.map((t) => formatValue(t))
  const largest = Math.max(...finite.map(Math.abs))
  const step = ticks.length > 1 ? Math.abs(ticks[1]! - ticks[0]!) : largest || 1
  if (largest !== 0 && (largest >= 1e6 || largest < 1e-3)) {
    const digits = places(step / 10 ** Math.floor(Math.log10(largest) + 1e-9))
    return ticks.map((t) => (t === 0 ? '0' : sign(tidyExponent(t.toExponential(digits)))))
  }
  const digits = places(step)
  return ticks.map((t) => sign(group((t === 0 ? 0 : t).toFixed(digits))))
}

/** How many decimals a step of an axis needs. */
function places(step: number): number {
  for (let p = 0; p < 12; p++) {
    const shifted = step * 10 ** p
    if (Math.abs(shifted - Math.round(shifted)) < 1e-6 * shifted) return p
  }
  return 12
}

/** A shape as `4 × 12`; the batch is written `n`. */
export function formatShape(shape: readonly number[] | null): string {
  if (shape === null) return '?'
  if (shape.length === 0) return 'scalar'
  return shape.map((s) => (s < 0 ? 'n' : group(String(s)))).join(' × ')
}

function trim(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text
}

function group(text: string): string {
  const [whole = '', part] = text.split('.')
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',')
  return part === undefined ? grouped : `${grouped}.${part}`
}

function tidyExponent(text: string): string {
  const [mantissa = '', exponent] = text.split('e')
  if (exponent === undefined) return text
  return `${trim(mantissa)}e${exponent.replace('+', '').replace('-', MINUS)}`
}

function sign(text: string): string {
  return text.startsWith('-') ? (/[1-9]/.test(text) ? MINUS + text.slice(1) : text.slice(1)) : text
}
