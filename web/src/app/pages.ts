/** The pages in the order of the menu (keys 1 to 9). The first two come with the app, heavy ones when opened. */
import type { Component } from 'svelte'
import type { words } from '../words'

export interface Page {
  id: keyof typeof words.pages
  load: () => Promise<{ default: Component }>
  /** It is shown before the runs are known, of which a lab may have thousands. */
  alone?: boolean
}

export const PAGES: readonly Page[] = [
  { id: 'runs', load: () => import('../pages/runs/Runs.svelte') },
  { id: 'metrics', load: () => import('../pages/metrics/Metrics.svelte') },
  { id: 'distributions', load: () => import('../pages/distributions/Distributions.svelte') },
  { id: 'weights', load: () => import('../pages/weights/Weights.svelte') },
  { id: 'media', load: () => import('../pages/media/Media.svelte') },
  { id: 'unit', load: () => import('../pages/unit/Unit.svelte') },
  { id: 'network', load: () => import('../pages/network/Network.svelte') },
  { id: 'examples', load: () => import('../pages/examples/Examples.svelte') },
  { id: 'lens', load: () => import('../pages/lens/Lens.svelte') },
  { id: 'compare', load: () => import('../pages/compare/Compare.svelte') },
  { id: 'lab', load: () => import('../pages/lab/Lab.svelte'), alone: true },
]
