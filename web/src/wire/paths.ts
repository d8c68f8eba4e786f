/**
 * The addresses of the wire, spelled as Python spells them (`wire/paths.py`), since an exported file is looked up by
 * the very text: parameters in a fixed order, those at their default left out. `tests/data/wire_paths.json` holds both
 * sides to it.
 */
export const API = '/api/v1'

type Value = string | number | readonly string[] | null | undefined
export type Parameters = Readonly<Record<string, Value>>

/** What can be asked, with each question's parameters in the order they are spelled, and their defaults. */
const PARAMETERS = {
  studio: {},
  runs: {},
  events: {},
  labs: {},
  lab: {},
  'lab/effects': { metric: null },
  'lab/importance': { metric: null },
  'lab/curves': { name: null, first: null, count: null, points: 400 },
  run: {},
  graph: {},
  scalars: { name: null, points: 2000, start: null, end: null },
  frames: { series: null, mode: 'value', encoding: 'auto', start: null, end: null },
  histograms: { series: null },
  statistics: { kind: null, column: null },
  media: { series: null, start: null, end: null },
  blob: { name: null },
  predictions: { series: null, example: null, at: null },
  console: { last: 2000 },
  code: {},
  export: { what: null, format: null, steps: null, layers: null, fps: null, size: null, cmap: null },
} as const satisfies Record<string, Parameters>

export type Question = keyof typeof PARAMETERS

const OF_STUDIO = new Set<Question>(['studio', 'runs', 'events', 'labs'])

/**
 * The address of a question; `run` is `project/run_id`, or `project/lab_id` of a question about a lab, `version` the
 * run's, where the answer then can't change.
 */
export function pathOf(what: Question, run = '', parameters: Parameters = {}, version: string | null = null): string {
  const parts: string[] = []
  for (const [name, standard] of Object.entries(PARAMETERS[what])) {
    const value = parameters[name] ?? standard
    if (value === standard || value === null) continue
    for (const one of Array.isArray(value) ? value : [value]) parts.push(`${name}=${encodeURIComponent(String(one))}`)
  }
  if (version !== null) parts.push(`v=${encodeURIComponent(version)}`)
  const path = OF_STUDIO.has(what) ? `${API}/${what}` : what.startsWith('lab') ? labPath(what, run) : runPath(what, run)
  return parts.length ? `${path}?${parts.join('&')}` : path
}

function runPath(what: Question, run: string): string {
  const cut = run.indexOf('/')
  const base = `${API}/runs/${encodeURIComponent(run.slice(0, cut))}/${encodeURIComponent(run.slice(cut + 1))}`
  return what === 'run' ? base : `${base}/${what}`
}

function labPath(what: Question, lab: string): string {
  const cut = lab.indexOf('/')
  const base = `${API}/labs/${encodeURIComponent(lab.slice(0, cut))}/${encodeURIComponent(lab.slice(cut + 1))}`
  return base + what.slice('lab'.length)
}

/** Where a run's network is asked. */
export const askPath = (run: string) => `${runPath('run', run)}/ask`

/** Where a run's network is looked into. */
export const lensPath = (run: string) => `${runPath('run', run)}/lens`

/** Where class images are asked for that weights alone do not make. */
export const classImagesPath = (run: string) => `${runPath('run', run)}/class-images`

/** Where a run's network is compared, and how a comparison stands. */
export const comparePath = (run: string) => `${runPath('run', run)}/compare`
export const compareJobPath = (job: string) => `${API}/compare/${encodeURIComponent(job)}`

/** A question to the lens, and what it found. */
export const lensJobPath = (job: string) => `${API}/lens/${encodeURIComponent(job)}`
export const lensMapsPath = (job: string, method: string) =>
  `${lensJobPath(job)}/maps${method ? `?method=${encodeURIComponent(method)}` : ''}`
export const lensPicturePath = (job: string, method: string) =>
  `${lensJobPath(job)}/picture?method=${encodeURIComponent(method)}`
/** A film of what ways of looking find at a run's snapshots, and the file it ends with. */
export const lensFilmPath = (run: string) => `${lensPath(run)}/film`
export const lensFilePath = (job: string) => `${lensJobPath(job)}/file`
export const PICTURES_PATH = `${API}/lens/pictures`

/** Where a run in the trash is taken out of it. */
export const restorePath = (run: string) => `${runPath('run', run)}/restore`

export interface ScalarsQuery {
  /** Series to read; without it, all of the run. */
  name?: readonly string[]
  /** About how many rows of each series are enough; 0 is all of them. */
  points?: number
  /** First and last step wanted. */
  start?: number | null
  end?: number | null
}

export interface FramesQuery {
  series: string
  mode?: 'value' | 'change' | 'since'
  encoding?: 'auto' | 'f4' | 'u1'
  start?: number | null
  end?: number | null
}

export interface MediaQuery {
  series: string
  start?: number | null
  end?: number | null
}

export interface PredictionsQuery {
  series: string
  /** The number of one example: its confidences at all steps. */
  example?: number | null
  /** A step whose examples are meant. */
  at?: number | null
}

export interface LabCurvesQuery {
  name: readonly string[]
  /** Trials from this number on, and how many. */
  first?: number | null
  count?: number | null
  points?: number
}

export interface ExportQuery {
  what: string
  format: string
  steps?: string | null
  layers?: string | null
  fps?: number | null
  size?: string | null
  cmap?: string | null
}
