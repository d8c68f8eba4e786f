/** Boxes and masks of a picture, out of what was logged with it. Pure. */
type Meta = Record<string, unknown>

export interface Box {
  box: [number, number, number, number]
  label?: string
  class?: number
  score?: number
  /** Which group of boxes it belongs to, from 0. */
  group: number
}

const SHADES = ['#c8553d', '#2a7f9e', '#7a5aa6', '#4c8a3f', '#b58415', '#a8487f']

export const shade = (k: number): string => SHADES[k % SHADES.length]!

export function boxesOf(meta: Meta): Box[] {
  const groups = meta.boxes
  if (!groups || typeof groups !== 'object') return []
  return Object.values(groups).flatMap((group, k) =>
    Array.isArray(group)
      ? group
          .filter((one: Box) => Array.isArray(one?.box) && one.box.length === 4)
          .map((one: Box) => ({ ...one, group: k }))
      : [],
  )
}

export function masksOf(meta: Meta): { name: string; blob: string }[] {
  const masks = meta.masks
  if (!masks || typeof masks !== 'object') return []
  return Object.entries(masks).flatMap(([name, blob]) => (typeof blob === 'string' ? [{ name, blob }] : []))
}

/** What stands at a box: its label, else the name of its class, and how sure it is. */
export function nameOf(box: Box, meta: Meta): string {
  const classes = (meta.classes ?? {}) as Record<string, string>
  const name = box.label ?? (box.class === undefined ? '' : (classes[String(box.class)] ?? String(box.class)))
  return [name, box.score === undefined ? '' : box.score.toFixed(2)].filter(Boolean).join(' ')
}
