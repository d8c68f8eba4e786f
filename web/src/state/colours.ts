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
 * Gives each run a slot: in the order of creation, each the least used so far in its project, since runs of one
 * project are looked at together; then the least used of all. Runs that have one keep it, so that new and deleted runs
 * change nobody's colour.
 */
export function assignSlots(
  known: ReadonlyMap<string, number>,
  runs: readonly { id: string; project: string; created: number }[],
): Map<string, number> {
  const slots = new Map(known)
  const none = () => new Array<number>(COLOURS).fill(0)
  const all = none()
  const projects = new Map<string, number[]>()
  const of = (project: string) => {
    let used = projects.get(project)
    if (!used) projects.set(project, (used = none()))
    return used
  }
  const count = (project: string, slot: number) => {
    all[slot]!++
    of(project)[slot]!++
  }
  for (const run of runs) {
    const slot = slots.get(run.id)
    if (slot !== undefined) count(run.project, slot)
  }
  const fresh = runs.filter((r) => !slots.has(r.id)).sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1))
  for (const run of fresh) {
    const used = of(run.project)
    let slot = 0
    for (let i = 1; i < COLOURS; i++) {
      if ((used[i]! - used[slot]! || all[i]! - all[slot]!) < 0) slot = i
    }
    slots.set(run.id, slot)
    count(run.project, slot)
  }
  return slots
}
