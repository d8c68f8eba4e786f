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

/** Reading it in an effect or `$derived` follows the theme. */
export function inkOf(): Ink {
  const c = (name: string) => theme.colour(name)
  return {
    ink: c('--ink'),
    soft: c('--soft'),
    faint: c('--faint'),
    line: c('--line'),
    head: c('--head'),
    panel: c('--panel'),
    sel: c('--sel'),
    warn: c('--warn'),
  }
}
