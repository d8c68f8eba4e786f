/** Everything the Studio asks, typed. Chosen once, in app/main.ts; the rest of the code does not know which it is. */
import { decodeScalars, type Curve } from '../wire/columns'
import {
  decodeFrames,
  decodeHistograms,
  decodeStatistics,
  type Column,
  type FrameStack,
  type HistogramStack,
} from '../wire/frames'
import { decodeExample, decodeOutline, type ExampleFilm, type Outline } from '../wire/predictions'
import { decodeLabCurves, type TrialCurve } from '../wire/labs'
import { decodeCompared, type Compared } from '../wire/compare'
import { decodeLook, type Look } from '../wire/lens'
import {
  askPath,
  classImagesPath,
  compareJobPath,
  comparePath,
  lensFilePath,
  lensFilmPath,
  lensJobPath,
  lensMapsPath,
  lensPath,
  lensPicturePath,
  pathOf,
  PICTURES_PATH,
  restorePath,
  type ExportQuery,
  type FramesQuery,
  type LabCurvesQuery,
  type MediaQuery,
  type Parameters,
  type PredictionsQuery,
  type Question,
  type ScalarsQuery,
} from '../wire/paths'
import type {
  AnswerDocument,
  CodeDocument,
  ConsoleDocument,
  EventDocument,
  GraphDocument,
  EffectsDocument,
  ImportanceDocument,
  LabDocument,
  LabTable,
  CompareDocument,
  CompareJob,
  CompareQuestion,
  LensDocument,
  LensFilmQuestion,
  LensJob,
  LensPicture,
  LensQuestion,
  MediaDocument,
  RunChange,
  RunDetail,
  RunRow,
  RunTable,
  StudioDocument,
} from '../wire/types'
import type { Transport } from './transport'

interface Ask {
  /** The run's version, when the answer cannot change (the run has ended). */
  version?: string | null
  signal?: AbortSignal
}

export class Source {
  readonly live: boolean
  readonly #transport: Transport
  /** The whole of a run's curves in an archive, which keeps them under one path. */
  readonly #whole = new Map<string, Promise<Map<string, Curve>>>()

  constructor(transport: Transport) {
    this.#transport = transport
    this.live = transport.live
  }

  studio = () => this.#json<StudioDocument>(pathOf('studio'))
  runs = () => this.#json<RunTable>(pathOf('runs'))
  run = (id: string) => this.#json<RunDetail>(pathOf('run', id))
  graph = (id: string, ask?: Ask) => this.#json<GraphDocument>(this.#path('graph', id, {}, ask), ask)

  /** Curves by name. An archive has them reduced once, so it answers with what it has. */
  async scalars(id: string, what: ScalarsQuery, ask?: Ask): Promise<Map<string, Curve>> {
    if (this.live)
      return decodeScalars(new Uint8Array(await this.#transport.get(this.#path('scalars', id, { ...what }, ask), ask)))
    let whole = this.#whole.get(id)
    if (!whole) {
      whole = this.#transport.get(pathOf('scalars', id)).then((bytes) => decodeScalars(new Uint8Array(bytes)))
      this.#whole.set(id, whole)
    }
    const all = await whole
    return what.name ? new Map(what.name.flatMap((n) => (all.has(n) ? [[n, all.get(n)!]] : []))) : all
  }

  async frames(id: string, what: FramesQuery, ask?: Ask): Promise<FrameStack> {
    return decodeFrames(await this.#transport.get(this.#path('frames', id, { ...what }, ask), ask))
  }

  async histograms(id: string, series: string, ask?: Ask): Promise<HistogramStack> {
    return decodeHistograms(await this.#transport.get(this.#path('histograms', id, { series }, ask), ask))
  }

  /** One statistic of all tensors of a kind, by series; only a live server is asked for many at once. */
  async statistics(id: string, kind: string, column: string, ask?: Ask): Promise<ReadonlyMap<string, Column>> {
    return decodeStatistics(await this.#transport.get(this.#path('statistics', id, { kind, column }, ask), ask))
  }

  media = (id: string, what: MediaQuery, ask?: Ask) =>
    this.#json<MediaDocument>(this.#path('media', id, { ...what }, ask), ask)
  /** What a network said of examples: the likeliest class of each at each step. */
  async predictions(id: string, series: string, ask?: Ask): Promise<Outline> {
    return decodeOutline(await this.#transport.get(this.#path('predictions', id, { series }, ask), ask))
  }

  /** The confidences of one example at each step; an archive holds them only in the files of the steps. */
  async example(id: string, what: PredictionsQuery & { example: number }, ask?: Ask): Promise<ExampleFilm> {
    return decodeExample(await this.#transport.get(this.#path('predictions', id, { ...what }, ask), ask))
  }

  console = (id: string, last: number, ask?: Ask) =>
    this.#json<ConsoleDocument>(this.#path('console', id, this.live ? { last } : {}, ask), ask)
  code = (id: string, ask?: Ask) => this.#json<CodeDocument>(this.#path('code', id, {}, ask), ask)

  /** The bytes of a logged value's file; under one name they never change. */
  blob = (id: string, name: string, ask?: Ask) => this.#transport.get(pathOf('blob', id, { name }), ask)

  /** Where a browser finds such a file; null in an exported page, which has the bytes only. */
  blobAddress = (id: string, name: string): string | null => this.#transport.address(pathOf('blob', id, { name }))

  change = (id: string, change: RunChange) => this.#send<RunRow>('PATCH', pathOf('run', id), change)
  remove = (id: string) => this.#send<{ id: string }>('DELETE', pathOf('run', id))
  /** What the network of a run says of one example, as it was at a step; only a live server can tell. */
  ask = (
    id: string,
    what: { values: readonly number[] } | { inputs: readonly (readonly number[])[] },
    step: number | null,
  ) => this.#send<AnswerDocument>('POST', askPath(id), { ...what, step })

  /** How a run's network can be looked into, questions to the lens, and what it finds; only a live server can tell. */
  lens = (id: string) => this.#json<LensDocument>(lensPath(id))
  look = (id: string, question: Partial<LensQuestion> & { methods: string[] }) =>
    this.#send<LensJob>('POST', lensPath(id), question)
  classImages = (id: string, step: number) => this.#send<LensJob>('POST', classImagesPath(id), { step })
  looked = (job: string) => this.#json<LensJob>(lensJobPath(job))
  stopLooking = (job: string) => this.#send<LensJob>('DELETE', lensJobPath(job))
  async lensMaps(job: string, method: string): Promise<Look> {
    return decodeLook(await this.#transport.get(lensMapsPath(job, method)))
  }
  lensFilm = (id: string, question: Partial<LensFilmQuestion> & { methods: string[] }) =>
    this.#send<LensJob>('POST', lensFilmPath(id), question)
  lensFile = (job: string) => this.#transport.get(lensFilePath(job))
  lensPicture = (job: string, method: string) => this.#transport.get(lensPicturePath(job, method))
  keepPicture = (picture: Blob) => this.#send<LensPicture>('POST', PICTURES_PATH, picture)

  /** By what a network can be compared, comparisons, and what they find; stopped as questions to the lens are. */
  comparable = (id: string) => this.#json<CompareDocument>(comparePath(id))
  compare = (id: string, question: Partial<CompareQuestion> & Pick<CompareQuestion, 'what'>) =>
    this.#send<CompareJob>('POST', comparePath(id), question)
  compared = (job: string) => this.#json<CompareJob>(compareJobPath(job))
  async comparedArrays(job: string, what: string): Promise<Compared> {
    return decodeCompared(await this.#transport.get(lensMapsPath(job, what)))
  }

  /** Labs, one lab with its trials, what its parameters did, and the curves of its trials. */
  labs = () => this.#json<LabTable>(pathOf('labs'))
  lab = (id: string) => this.#json<LabDocument>(pathOf('lab', id))
  labEffects = (id: string, metric: string | null) => this.#json<EffectsDocument>(pathOf('lab/effects', id, { metric }))
  labImportance = (id: string, metric: string | null) =>
    this.#json<ImportanceDocument>(pathOf('lab/importance', id, { metric }))
  async labCurves(id: string, what: LabCurvesQuery): Promise<TrialCurve[]> {
    return decodeLabCurves(await this.#transport.get(pathOf('lab/curves', id, { ...what })))
  }

  restore = (id: string) => this.#send<RunRow>('POST', restorePath(id))

  /** The bytes of an exported file. */
  export = (id: string, what: ExportQuery, signal?: AbortSignal) =>
    this.#transport.get(pathOf('export', id, { ...what }), { signal })

  listen(told: (event: EventDocument) => void, connected: (yes: boolean) => void): () => void {
    return this.#transport.listen(told, connected)
  }

  /** A static export's addresses have no version. */
  #path(what: Question, id: string, parameters: Parameters, ask?: Ask): string {
    return pathOf(what, id, parameters, this.live ? (ask?.version ?? null) : null)
  }

  async #json<T>(path: string, ask?: Ask): Promise<T> {
    return JSON.parse(new TextDecoder().decode(await this.#transport.get(path, ask))) as T
  }

  async #send<T>(method: 'PATCH' | 'DELETE' | 'POST', path: string, body?: unknown): Promise<T> {
    return JSON.parse(new TextDecoder().decode(await this.#transport.send(method, path, body))) as T
  }
}

/** The source of this page; set by app/main.ts before anything is drawn. */
let current: Source | null = null

export function chooseSource(source: Source): void {
  current = source
}

export function source(): Source {
  if (!current) throw new Error('no source was chosen')
  return current
}
