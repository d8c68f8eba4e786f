/** Nested facts as flat lines. Pure. */
import { formatConfig } from '../../state/format'

export function flat(value: Record<string, unknown>, prefix = ''): [string, string][] {
  return Object.entries(value).flatMap(([key, v]): [string, string][] => {
    if (v !== null && typeof v === 'object' && !Array.isArray(v))
      return flat(v as Record<string, unknown>, `${prefix}${key} `)
    const text = formatConfig(v)
    return text === '' ? [] : [[prefix + key, text]]
  })
}
