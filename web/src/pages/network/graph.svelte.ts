/** Graphs of runs, asked for once and again when a run that trains has told more. */

import { untrack } from 'svelte'
import { source } from '../../source/source'
import type { GraphDocument, RunRow } from '../../wire/types'

class RunGraph {
  document = $state.raw<GraphDocument | null>(null)
  problem = $state<string | null>(null)
  #asked = false

  keep(row: RunRow): void {
    if (this.#asked) return
    this.#asked = true
    // A run's graph is written once, before its first step.
    source()
      .graph(row.id, { version: row.status === 'running' ? null : row.version })
      .then((document) => {
        this.document = document
        this.problem = null
      })
      .catch((error: unknown) => {
        this.problem = error instanceof Error ? error.message : String(error)
        this.#asked = false
      })
  }
}

const graphs = new Map<string, RunGraph>()

/** The graph of a run; its `document` comes later. */
export function graphOf(row: RunRow): RunGraph {
  return untrack(() => {
    let graph = graphs.get(row.id)
    if (!graph) {
      graph = new RunGraph()
      graphs.set(row.id, graph)
    }
    graph.keep(row)
    return graph
  })
}
