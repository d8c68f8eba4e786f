/** The colours that charts draw with, read from the page's theme. */

import { theme } from '../state/theme.svelte'

export interface Ink {
  readonly ink: string
  readonly soft: string
  readonly faint: string
  readonly line: string
  readonly head: string
  readonly panel: string
  readonly sel: string
  readonly warn: string
}

/** Kept per theme: asking the browser makes it work out all styles, too dear for every frame of every chart. */
const inks = new Map<string, Ink>()

/** Reading it in an effect or `$derived` follows the theme. */
export function inkOf(): Ink {
  const name = theme.name
  const kept = inks.get(name)
  if (kept) return kept
  const c = (property: string) => theme.colour(property)
  const ink: Ink = {
    ink: c('--ink'),
    soft: c('--soft'),
    faint: c('--faint'),
    line: c('--line'),
    head: c('--head'),
    panel: c('--panel'),
    sel: c('--sel'),
    warn: c('--warn'),
  }
  // Before the style sheet and the theme are in place there is nothing worth keeping.
  if (ink.panel && document.documentElement.dataset.theme === name) inks.set(name, ink)
  return ink
}
