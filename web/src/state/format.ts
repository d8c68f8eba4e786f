/** Times and short numbers as people read them. Values of charts: maths/numbers.ts. */

/** A number in few signs: whole ones with groups, others with so many significant digits. */
export function formatQuick(v: number | null | undefined, digits = 4): string {
  if (v === null || v === undefined) return '–'
  if (Number.isNaN(v)) return 'NaN'
  if (!Number.isFinite(v)) return v > 0 ? '∞' : '−∞'
  const size = Math.abs(v)
  let text: string
  if (Number.isInteger(v) && size < 1e15) text = v.toLocaleString('en')
  else if (size >= 1e6 || size < 1e-3) {
    const [mantissa, exponent] = v.toExponential(Math.max(0, digits - 2)).split('e') as [string, string]
    text = `${Number(mantissa)}e${Number(exponent)}`
  } else text = String(Number(v.toPrecision(digits)))
  return text.replaceAll('-', '−')
}

const COMPACT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 3 })

/** A number on an axis: large whole ones as `250K`, `2.5M`. */
export function formatTick(v: number): string {
  return Math.abs(v) >= 100_000 && Math.abs(v) < 1e12 ? COMPACT.format(v).replaceAll('-', '−') : formatQuick(v)
}

/** A number on an axis whose ticks are `gap` apart: as many places as tell neighbours apart. */
export function formatAxis(v: number, gap: number): string {
  if (!(gap > 0) || !Number.isFinite(gap) || (Math.abs(v) >= 100_000 && gap >= 100)) return formatTick(v)
  const [mantissa, exponent] = gap.toExponential(3).split('e') as [string, string]
  const places = String(Number(mantissa)).replace(/^\d\.?/, '').length - Number(exponent)
  if (places > 7) return formatQuick(v, 6)
  return v
    .toLocaleString('en', { minimumFractionDigits: 0, maximumFractionDigits: Math.max(0, places) })
    .replaceAll('-', '−')
}

/** Seconds as `0.8 s`, `42 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`. */
export function formatSeconds(seconds: number | null): string {
  if (seconds === null || !Number.isFinite(seconds)) return '–'
  const s = Math.max(0, seconds)
  if (s < 10) return `${Number(s.toFixed(1))} s`
  if (s < 60) return `${Math.round(s)} s`
  const two = (n: number) => String(Math.floor(n)).padStart(2, '0')
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two((s % 3600) / 60)} min`
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`
}

/** Time since, in one unit: `12 s`, `5 min`, `3 h`, `2 d`. */
export function formatSince(seconds: number): string {
  const s = Math.max(0, seconds)
  if (s < 60) return `${Math.round(s)} s`
  if (s < 3600) return `${Math.floor(s / 60)} min`
  if (s < 86400) return `${Math.floor(s / 3600)} h`
  return `${Math.floor(s / 86400)} d`
}

const DAY = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short' })
const YEAR = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short', year: 'numeric' })
const CLOCK = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', hour12: false })

/** A moment: the clock when it was today, else the day too. */
export function formatMoment(unix: number, now = Date.now() / 1000): string {
  const [at, today] = [new Date(unix * 1000), new Date(now * 1000)]
  const clock = CLOCK.format(at)
  if (at.toDateString() === today.toDateString()) return clock
  return `${(at.getFullYear() === today.getFullYear() ? DAY : YEAR).format(at)} ${clock}`
}

const EXACT = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })

/** A moment on an axis whose ticks are `gap` seconds apart; at midnight the day. */
export function formatClock(unix: number, gap: number): string {
  const at = new Date(unix * 1000)
  const midnight = at.getHours() === 0 && at.getMinutes() === 0 && at.getSeconds() === 0
  if (gap >= 86400 || (midnight && gap >= 60)) return DAY.format(at)
  if (gap >= 60) return CLOCK.format(at)
  if (gap >= 1) return EXACT.format(at)
  return `${EXACT.format(at)}.${String(at.getMilliseconds()).padStart(3, '0')}`
}

/** A value of a config as text. */
export function formatConfig(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number') return formatQuick(value, 6)
  if (typeof value === 'string') return value
  return JSON.stringify(value)
}
