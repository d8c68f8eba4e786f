/** Loads films and histograms, keeps them while there is room, and lets them grow while their run trains. */

import { untrack } from 'svelte'
import { source } from '../source/source'
import type { Column, FrameStack, HistogramStack } from '../wire/frames'
import type { GraphDocument, RunRow } from '../wire/types'
import { chunksAround } from './chunks'
import { DifferenceFrames, RecordedFrames, type Frames } from './frames'
import { Loaded, message, settled } from './loaded.svelte'

export type FilmMode = 'value' | 'change' | 'since'

/** Films that nobody looks at are given up, oldest first, when all together take more than this. */
const ROOM_BYTES = 384 * 1024 * 1024
/** A film of which not every frame was sent is refined where the playhead rests this long. */
const REST_MS = 120

/** What is known of a film before it comes. */
export interface FilmHint {
  /** How many frames were recorded by now: a film that has them asks for no more. */
  frames: number
  /** Steps of its frames, where they are known. */
  steps: readonly number[] | null
  /** Numbers of a frame. */
  size: number
  /** Where the playhead is. */
  at: number
}

/** One tensor through time in one mode. `frames` is null until something has come. */
export class Film {
  readonly series: string
  readonly mode: FilmMode
  readonly runId: string
  readonly #loaded = new Loaded<Frames>()
  readonly #stacks: FrameStack[] = []
  #asked: string | null = null
  #busy = false
  #next: RunRow | null = null
  #rest: ReturnType<typeof setTimeout> | undefined

  constructor(runId: string, series: string, mode: FilmMode) {
    this.runId = runId
    this.series = series
    this.mode = mode
  }

  get frames(): Frames | null {
    return this.#loaded.value
  }

  get problem(): string | null {
    return this.#loaded.problem
  }

  get size(): number {
    return this.#stacks.reduce((n, s) => n + s.data.byteLength, 0)
  }

  /** Loads what there is of the film as the run stands; called again, what has come since. */
  keep(row: RunRow, hint: FilmHint | null = null): void {
    untrack(() => {
      if (this.#asked === row.version) return
      const have = this.frames
      if (hint && have instanceof RecordedFrames && have.stride === 1 && have.steps.length >= hint.frames) return
      if (this.#busy) this.#next = row
      else void this.#load(row, hint)
    })
  }

  /** The playhead rests at a step whose frame may have been left out: fetches it. */
  refine(step: number, row: RunRow): void {
    clearTimeout(this.#rest)
    const frames = untrack(() => this.frames)
    if (!(frames instanceof RecordedFrames) || frames.stride === 1 || !source().live) return
    this.#rest = setTimeout(() => void this.#fetch(row, step, step), REST_MS)
  }

  async #load(row: RunRow, hint: FilmHint | null): Promise<void> {
    this.#busy = true
    this.#asked = row.version
    const last = this.frames?.steps.at(-1)
    try {
      const begun = last !== undefined
      const pieces = !begun && hint?.steps && source().live
      const chunks = pieces ? chunksAround(hint.steps!, hint.size, hint.at) : null
      if (chunks) for (const { start, end } of chunks) await this.#fetch(row, start, end)
      else await this.#fetch(row, begun ? last + 1 : null, null)
    } catch (error) {
      // What is there stays on the screen; only an empty film has something to say.
      if (!this.#stacks.length) this.#loaded.fail(message(error))
    }
    this.#busy = false
    const next = this.#next
    this.#next = null
    if (next) this.keep(next)
  }

  async #fetch(row: RunRow, start: number | null, end: number | null): Promise<void> {
    const stack = await this.#ask(row, start, end)
    if (stack.steps.length === 0 && this.#stacks.length) return
    this.#stacks.push(stack)
    this.#loaded.put(new RecordedFrames(this.#stacks))
  }

  #ask(row: RunRow, start: number | null, end: number | null): Promise<FrameStack> {
    // A copy without a server has whole films only.
    const range = source().live ? { start, end } : {}
    return source().frames(this.runId, { series: this.series, mode: this.mode, ...range }, { version: settled(row) })
  }
}

/** What is asked for whole, and asked for again when its run has more of it. */
export class Table<T> {
  readonly #loaded = new Loaded<T>()
  readonly #ask: (row: RunRow) => Promise<T>
  readonly #bytes: (rows: T) => number
  readonly #count: (rows: T) => number
  #asked: string | null = null
  #busy = false
  #next: RunRow | null = null

  constructor(ask: (row: RunRow) => Promise<T>, bytes: (rows: T) => number, count: (rows: T) => number) {
    this.#ask = ask
    this.#bytes = bytes
    this.#count = count
  }

  get rows(): T | null {
    return this.#loaded.value
  }

  get problem(): string | null {
    return this.#loaded.problem
  }

  get size(): number {
    return this.rows === null ? 0 : this.#bytes(this.rows)
  }

  /** Loads it as the run stands, unless the `count` rows that there are by now are here. */
  keep(row: RunRow, count: number | null = null): void {
    untrack(() => {
      if (this.#asked === row.version) return
      if (count !== null && this.rows !== null && this.#count(this.rows) >= count) return
      if (this.#busy) this.#next = row
      else void this.#load(row)
    })
  }

  async #load(row: RunRow): Promise<void> {
    this.#busy = true
    this.#asked = row.version
    try {
      this.#loaded.put(await this.#ask(row))
    } catch (error) {
      if (this.rows === null) this.#loaded.fail(message(error))
    }
    this.#busy = false
    const next = this.#next
    this.#next = null
    if (next) this.keep(next)
  }
}

/** The graph of a run, which is written once, before its first step. */
export class RunGraph {
  readonly #loaded = new Loaded<GraphDocument>()
  #asked = false
  readonly size = 0

  get document(): GraphDocument | null {
    return this.#loaded.value
  }

  get problem(): string | null {
    return this.#loaded.problem
  }

  keep(row: RunRow): void {
    if (this.#asked) return
    this.#asked = true
    source()
      .graph(row.id, { version: settled(row) })
      .then((document) => this.#loaded.put(document))
      .catch((error: unknown) => {
        this.#asked = false
        this.#loaded.fail(message(error))
      })
  }
}

export interface Shown {
  frames: Frames | null
  problem: string | null
  film: Film
}

const differences = new WeakMap<Frames, Map<FilmMode, Frames>>()

function difference(of: Frames, mode: 'change' | 'since'): Frames {
  const made = differences.get(of) ?? new Map<FilmMode, Frames>()
  differences.set(of, made)
  const frames = made.get(mode) ?? new DifferenceFrames(of, mode)
  made.set(mode, frames)
  return frames
}

class Films {
  readonly #films = new Map<string, Film>()
  readonly #histograms = new Map<string, Table<HistogramStack>>()
  readonly #statistics = new Map<string, Table<ReadonlyMap<string, Column>>>()
  readonly #graphs = new Map<string, RunGraph>()

  /** The film of a tensor; the same one for everybody who asks. */
  of(runId: string, series: string, mode: FilmMode = 'value'): Film {
    return kept(this.#films, `${runId}\n${series}\n${mode}`, () => new Film(runId, series, mode))
  }

  /** The graph of a run, asked for. */
  graph(row: RunRow): RunGraph {
    const graph = kept(this.#graphs, row.id, () => new RunGraph())
    graph.keep(row)
    return graph
  }

  /**
   * Frames to draw in a mode, kept up to date with the run. Differences are worked out here from a whole film of
   * floats; the server does it where only bytes came, and where there is none, differences of bytes must do.
   */
  show(row: RunRow, series: string, mode: FilmMode, hint: FilmHint | null = null): Shown {
    const recorded = this.of(row.id, series)
    recorded.keep(row, hint)
    const { frames, problem } = recorded
    if (mode === 'value' || !frames) return { frames, problem, film: recorded }
    const whole = frames.exact && frames.steps.length >= frames.total
    if (whole || !source().live) return { frames: difference(frames, mode), problem, film: recorded }
    const asked = this.of(row.id, series, mode)
    asked.keep(row, hint)
    return { frames: asked.frames, problem: asked.problem, film: asked }
  }

  /** The histograms of one tensor through time. */
  histograms(runId: string, series: string): Table<HistogramStack> {
    const make = () =>
      new Table(
        (row: RunRow) => source().histograms(runId, series, { version: settled(row) }),
        (rows) => rows.counts.byteLength + rows.statistics.byteLength,
        (rows) => rows.steps.length,
      )
    return kept(this.#histograms, `${runId}\n${series}`, make)
  }

  /** One statistic of all tensors of a kind through time, in one piece; `kind` is param, grad or act. */
  statistics(runId: string, kind: string, column: string): Table<ReadonlyMap<string, Column>> {
    const count = (rows: ReadonlyMap<string, Column>) => [...rows.values()].reduce((n, c) => n + c.values.length, 0)
    const make = () =>
      new Table(
        (row: RunRow) => source().statistics(runId, kind, column, { version: settled(row) }),
        (rows) => 16 * count(rows),
        count,
      )
    return kept(this.#statistics, `${runId}\n${kind}\n${column}`, make)
  }
}

/** Takes from a map in which the entry used last comes last, giving up the oldest ones when they take too much. */
function kept<T extends { size: number }>(map: Map<string, T>, key: string, make: () => T): T {
  const value = map.get(key) ?? make()
  map.delete(key)
  map.set(key, value)
  let bytes = 0
  for (const v of map.values()) bytes += untrack(() => v.size)
  for (const [k, v] of map) {
    if (bytes <= ROOM_BYTES || k === key) break
    bytes -= untrack(() => v.size)
    map.delete(k)
  }
  return value
}

export const films = new Films()

/** One value as recorded, all its digits; null where it cannot be had. */
export async function exactValue(row: RunRow, series: string, step: number, element: number): Promise<number | null> {
  if (!source().live) return null
  const ask = { version: settled(row) }
  const stack = await source().frames(row.id, { series, mode: 'value', encoding: 'f4', start: step, end: step }, ask)
  return stack.steps.length ? (stack.data[element] ?? null) : null
}
