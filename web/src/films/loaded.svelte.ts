/** Something that comes over the wire later, or fails to; whoever reads it in an effect notices when it changes. */

import { untrack } from 'svelte'
import { SvelteMap } from 'svelte/reactivity'
import type { RunRow } from '../wire/types'

export const message = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** The version to ask with: only what cannot change any more may be kept by the browser. */
export const settled = (row: RunRow) => (row.status === 'running' ? null : row.version)

/**
 * How often each film has changed. Films are made where they are first asked for, which is inside of a `$derived`;
 * state made there is not followed by it, but this map is made here.
 */
const changes = new SvelteMap<string, number>()
let made = 0

/** Something that is loaded: reading `value` or `problem` in an effect follows it. */
export class Loaded<T> {
  readonly #key = String(made++)
  #value: T | null = null
  #problem: string | null = null

  get value(): T | null {
    changes.get(this.#key)
    return this.#value
  }

  get problem(): string | null {
    changes.get(this.#key)
    return this.#problem
  }

  put(value: T): void {
    this.#value = value
    this.#problem = null
    this.#tell()
  }

  fail(problem: string): void {
    this.#problem = problem
    this.#tell()
  }

  #tell(): void {
    changes.set(this.#key, (untrack(() => changes.get(this.#key)) ?? 0) + 1)
  }
}
