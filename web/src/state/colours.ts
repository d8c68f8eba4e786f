/** Colours of runs: ten that colour-blind eyes can tell apart, one set a theme, given out once and kept. */
import type { Theme } from './theme.svelte'

const PALETTE: Record<Theme, readonly string[]> = {
  light: ['#3b6fb6', '#c4721a', '#2f8a5f', '#a04fb0', '#b8403a', '#1f8a99', '#8a6a1f', '#d0518c', '#5c5fc9', '#5f6b73'],
  dark: ['#6ea3ea', '#e89a45', '#5dbf8c', '#c985d8', '#ee7a72', '#4fc0d0', '#c9a752', '#f08cba', '#9a9dff', '#a3b0b9'],
}

export const COLOURS = PALETTE.light.length

/** The colour of a slot. */
export const slotColour = (slot: number, theme: Theme): string => PALETTE[theme][slot % COLOURS]!

/**
 * Gives each run a slot: in the order of creation, each the least used so far. Runs that have one keep it, so that
 * new and deleted runs change nobody's colour.
 */
export function assignSlots(
  known: ReadonlyMap<string, number>,
  runs: readonly { id: string; created: number }[],
): Map<string, number> {
  const slots = new Map(known)
  const used = new Array<number>(COLOURS).fill(0)
  for (const run of runs) {
    const slot = slots.get(run.id)
    if (slot !== undefined) used[slot]!++
  }
  const fresh = runs.filter((r) => !slots.has(r.id)).sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1))
  for (const run of fresh) {
    const slot = used.indexOf(Math.min(...used))
    slots.set(run.id, slot)
    used[slot]!++
  }
  return slots
}
