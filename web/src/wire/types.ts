// Made by `npm run types` from openapi.json, which Python writes: change wire/schema.py, not this file.

/** Something that the training wanted to be told. */
export interface AlertDocument {
  t: number;
  step: number | null;
  title: string;
  text: string;
  level: 'info' | 'warning' | 'error';
  /** The rule that found it, empty for run.alert() */
  rule: string;
  rank: number;
}

/** What the network says of one example. */
export interface AnswerDocument {
  /** The step of the snapshot that answered */
  step: number;
  /** As the network puts them out; null where not finite */
  outputs: (number | null)[];
  /** From 0 to 1 for each class, empty where there are no classes */
  confidences: (number | null)[];
  /** How the confidences came about */
  meaning: 'softmax' | 'probabilities' | 'independent' | 'logistic' | 'number';
  classes: string[];
  seconds: number;
}

/** An array in an EPF1 container: little-endian, C order. */
export interface ArrayDocument {
  name: string;
  dtype: 'f4' | 'f8' | 'u1' | 'u4' | 'i8';
  shape: number[];
}

/** What the recorded network takes at /ask. */
export interface AskableDocument {
  /** Sizes of one example, without the batch */
  shape: number[];
  /** Names of the classes, empty where the config does not tell them */
  classes: string[];
}

/** One of several inputs of a network. */
export interface AskableInput {
  name: string;
  /** Sizes of one example, without the batch; empty for a single number */
  shape: number[];
}

/** What each class looks like to a network that is more than a chain of linear layers, as it was at a step. */
export interface ClassImagesQuestion {
  /** At the last snapshot that is not after it; None: the last one */
  step: number | null;
  /** Predictions whose examples are taken */
  series: string | null;
}

/** Where a run comes from. */
export interface CodeDocument {
  code: Record<string, unknown>;
  environment: Record<string, unknown>;
  /** Changes of the code since its commit */
  diff: string | null;
  packages: Record<string, string>;
}

/** Another network: a run at a step; None for its last snapshot. */
export interface CompareAgainst {
  /** project/run */
  run: string;
  step: number | null;
}

/** By what a run's network can be compared. */
export interface CompareDocument {
  /** Why it cannot be compared; empty where it can */
  reason: '' | 'network' | 'torch';
  /** Layers with weights, in the order of the network */
  layers: string[];
  /** Predictions whose examples were recorded as the network takes them */
  series: string[];
  /** Those of them whose classes are known */
  labelled: string[];
  /** Whether the network has attention in it */
  attends: boolean;
  /** Names of sample photos, where it takes pictures */
  samples: string[];
  /** Whether it takes pictures, so that one can be uploaded */
  picture: boolean;
  /** What one writes for an input made of tokens: their numbers, or what is known of them; or empty */
  tokens: '' | 'numbers' | 'words' | 'letters';
}

/** What a comparison found, beside its arrays; lists that do not belong to it are empty. */
export interface CompareFacts {
  /** Of CKA: names of layers or steps */
  rows: string[];
  columns: string[];
  layers: string[];
  /** Of probes: shares of held-out examples */
  accuracy: number[];
  train: number[];
  /** 95 % intervals of the accuracies */
  interval: number[][];
  chance: number | null;
  features: number[];
  /** Of spectra: sizes of the matrices */
  shapes: number[][];
  spectral_norm: (number | null)[];
  stable_rank: (number | null)[];
  /** Exponents of power laws */
  alpha: (number | null)[];
  /** Of a landscape: what the loss is called */
  loss: string;
  centre: number | null;
  /** Shares of the two directions */
  variance: number[] | null;
  path_steps: number[];
  /** Of attention: heads of each layer */
  heads: number[];
  /** Patches in height and width */
  grid: number[] | null;
  /** Tokens that stand before the patches, such as that of the class */
  special: number;
  /** Names of tokens that are no patches */
  tokens: string[];
  rollout: boolean;
}

/** How a comparison stands. */
export interface CompareJob {
  id: string;
  run: string;
  step: number;
  state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
  ahead: number;
  doing: '' | 'starting' | 'loading' | 'looking';
  /** How much is done, from 0 to 1 */
  share: number | null;
  version: number;
  results: CompareResult[];
  error: ErrorBody | null;
  threads: number;
  seconds: number;
}

/** A comparison of a run's network as it was at a step. */
export interface CompareQuestion {
  what: 'cka' | 'cka_steps' | 'linear_probes' | 'spectra' | 'loss_landscape' | 'attention';
  /** At the last snapshot that is not after it; None: the last one */
  step: number | null;
  /** Whose examples; None: the first */
  series: string | null;
  /** Empty: all with weights */
  layers: string[];
  against: CompareAgainst | null;
  /** Places along each direction of a landscape */
  size: number;
  /** Of a landscape: the plane of the training, with its path */
  path: boolean;
  /** For attention: which of the recorded examples */
  example: number | null;
  /** For attention: a sample photo */
  photo: string | null;
  /** For attention: what POST /lens/pictures said */
  picture: string | null;
  /** For attention: an input as it is written, in numbers or words */
  text: string | null;
  /** Of the picture to keep */
  theme: 'light' | 'dark';
}

/** What a comparison found; its arrays are at /lens/{job}/maps?method=NAME, an EPF1 container. */
export interface CompareResult {
  method: 'cka' | 'cka_steps' | 'linear_probes' | 'spectra' | 'loss_landscape' | 'attention';
  caption: string;
  notes: string[];
  numbers: Record<string, number | null>;
  facts: CompareFacts;
  seconds: number;
  /** False for what is known so far of one that goes on */
  done: boolean;
}

/** The metric at one level less that at another; places in the parameter's levels. */
export interface ComparisonDocument {
  before: number;
  after: number;
  estimate: number;
  /** 95 % interval over all comparisons of the parameter; null: one repeat */
  low: number | null;
  high: number | null;
  /** Whether configurations that differ in nothing else were compared */
  paired: boolean;
  places: number;
  /** Least and most trainings of a configuration that took part */
  repeats: number[];
  /** Whether the interval leaves out zero */
  clear: boolean;
  text: string;
}

/** The last lines that the training printed. */
export interface ConsoleDocument {
  lines: ConsoleLineDocument[];
}

/** One line that the training printed. */
export interface ConsoleLineDocument {
  t: number;
  step: number | null;
  stream: 'stdout' | 'stderr';
  text: string;
  rank: number;
}

/** One quantity by the names of its series, of training and of data held back. */
export interface CurvePairDocument {
  name: string;
  train: string | null;
  validation: string | null;
}

/** A run went to the trash; it can be restored. */
export interface DeletedDocument {
  id: string;
}

/** An arrow of the graph. */
export interface EdgeDocument {
  source: string;
  target: string;
  skip: boolean;
}

/** What a parameter did. */
export interface EffectDocument {
  parameter: string;
  levels: LevelDocument[];
  comparisons: ComparisonDocument[];
  largest: ComparisonDocument | null;
  /** Of the variance of all trials, less what noise would have */
  share: number | null;
  conclusion: 'effect' | 'unclear' | 'one repeat' | 'confounded';
  confounded: string[];
  sentence: string;
}

/** What the finished trials of a lab tell of one metric. */
export interface EffectsDocument {
  metric: string;
  mode: 'min' | 'max';
  /** Whether differences are told in points of a hundred */
  points: boolean;
  trials: number;
  configurations: number;
  effects: EffectDocument[];
  interactions: InteractionDocument[];
  spread: SpreadDocument;
  /** Share of the variance that no parameter and no pair explains */
  rest: number | null;
  /** Share of the variance that repeats have */
  of_repeats: number | null;
  notes: string[];
  /** Whether Optuna is installed: /importance answers */
  second_opinion: boolean;
}

/** What went wrong, in a stable word, a sentence and what to do. */
export interface ErrorBody {
  code: string;
  message: string;
  hint: string;
}

/** The one shape of every error. */
export interface ErrorDocument {
  error: ErrorBody;
}

/** One event of the live stream: a run is new, has new data or is gone. */
export interface EventDocument {
  id: string;
  kind: 'new' | 'changed' | 'gone';
  status: 'running' | 'finished' | 'failed' | 'stopped' | 'crashed';
  last_step: number | null;
  version: string;
}

/** Header of the EPF1 container of one example: steps [T] and probabilities [T, C]. */
export interface ExampleHeader {
  arrays: ArrayDocument[];
  series: string;
  example: number;
}

/** Examples that a network was asked about at several steps. */
export interface ExampleSetDocument {
  examples: number;
  classes: number;
  class_names: string[] | null;
  /** Names of the columns, where inputs are rows of a table */
  feature_names: string[] | null;
  /** Whether the right answers are known */
  labels: boolean;
  ids: string[] | null;
  inputs: '' | 'pictures' | 'numbers' | 'texts';
  /** What /blob is asked for, empty where no inputs were logged */
  inputs_blob: string;
  /** Size of that file */
  inputs_bytes: number;
  /** What 0 and 255 of a picture stand for */
  range: number[] | null;
  /** What the network put out: raw, softmax or sigmoid; empty where not known */
  outputs: string;
  /** Whether the inputs are for people, and the network was given something else */
  shown: boolean;
  /** What it was given instead, where both are rows of a table */
  prepared: PreparedDocument | null;
}

/** Header of the EPF1 container of a film: arrays steps [T] and frames [T, ...]. */
export interface FramesHeader {
  arrays: ArrayDocument[];
  series: string;
  mode: 'value' | 'change' | 'since';
  encoding: 'f4' | 'u1';
  /** Greatest finite magnitude in the whole film, 0 where there is none */
  limit: number;
  /** Least finite value in the whole film */
  lo: number | null;
  /** Greatest finite value in the whole film */
  hi: number | null;
  /** Values of the whole film that are not finite */
  nonfinite: number;
  /** Frames recorded in the steps asked for */
  total: number;
  /** Every n-th frame is here; the last one always is */
  stride: number;
}

/** A network's layers in running order, and the arrows between them. */
export interface GraphDocument {
  source: 'export' | 'forward' | 'declared' | 'parameters';
  model: string;
  framework: string;
  note: string;
  layers: LayerDocument[];
  edges: EdgeDocument[];
  /** Outer ones first */
  groups: GroupDocument[];
  skips: SkipDocument[];
  multiply_adds: number | null;
  bytes: number;
  parameter_count: number;
  trainable_count: number;
}

/** A module that holds others, or a further use of one. */
export interface GroupDocument {
  group_id: string;
  kind: string;
  parent: string;
}

/** Header of the EPF1 container of histograms: steps [T], counts [T, 64], lo [T], hi [T], statistics [T, 11]. */
export interface HistogramsHeader {
  arrays: ArrayDocument[];
  series: string;
  /** What the columns of statistics are */
  columns: string[];
}

/** A second opinion on which parameters mattered. */
export interface ImportanceDocument {
  metric: string;
  evaluator: 'fanova' | 'mdi';
  importance: Record<string, number>;
}

/** How much more a change of one parameter does beside another value of a second one. */
export interface InteractionDocument {
  parameters: string[];
  levels: string[][];
  estimate: number | null;
  low: number | null;
  high: number | null;
  share: number;
  clear: boolean;
  sentence: string;
}

/** Header of the EPF1 container of a lab's curves, [K] of them one after the other. trial u4[K], name u4[K] (its place in names), length u4[K], and of all points steps i8, epochs f8, values f8. */
export interface LabCurvesHeader {
  arrays: ArrayDocument[];
  names: string[];
}

/** A lab with all its trials. */
export interface LabDocument {
  lab: LabRow;
  /** The text of its lab.toml, empty where it was made in Python */
  source: string;
  /** Those that differ between trials */
  parameters: string[];
  /** Those that do not */
  fixed: Record<string, unknown>;
  metrics: string[];
  /** What its runs log, pairs of training and validation first */
  curves: CurvePairDocument[];
  trials: TrialDocument[];
}

/** One lab in the list of labs. */
export interface LabRow {
  /** project/lab_id */
  id: string;
  project: string;
  lab_id: string;
  name: string;
  created: number;
  model: string | null;
  data: string | null;
  /** The function that trains, where it is not a model on data */
  train: string | null;
  objective: string;
  mode: 'min' | 'max';
  repeats: number;
  /** Whether the process that runs it lives */
  running: boolean;
  /** As many as are planned */
  trials: number;
  /** How many are waiting, running, finished, failed and stopped */
  counts: Record<string, number>;
  /** Time that all trials took together */
  seconds: number;
  best_trial: number | null;
  best: number | null;
  /** Changes when anything of the lab changed on disk */
  version: string;
}

/** All labs, newest first. */
export interface LabTable {
  labs: LabRow[];
}

/** A node of the graph. */
export interface LayerDocument {
  layer_id: string;
  kind: string;
  module: string;
  role: 'input' | 'module' | 'operation' | 'output';
  /** Shapes; -1 is the batch */
  inputs: number[][];
  outputs: number[][];
  parameters: ParameterDocument[];
  activation: string | null;
  attributes: Record<string, unknown>;
  parameter_count: number;
  /** Those of products and convolutions for one example */
  multiply_adds: number | null;
  /** Units or channels it puts out */
  units: number | null;
  /** The group it stands in, empty for the network itself */
  group: string;
  /** All uses of its module, where that is used more than once */
  shared: string[];
}

/** What the network says of one class. */
export interface LensAnswer {
  index: number;
  score: number | null;
  confidence: number | null;
}

/** What can be looked at in a run's network, and how. */
export interface LensDocument {
  /** Why it cannot be looked into, empty where it can */
  reason: '' | 'network' | 'torch';
  /** Whether PyTorch is installed where the server runs */
  torch: boolean;
  /** Sizes of one example */
  shape: number[];
  /** Height, width and channels, where examples are pictures */
  picture: number[] | null;
  methods: LensMethod[];
  layers: LensLayer[];
  /** Names of sample photos */
  samples: string[];
}

/** The strongest examples of a unit: channels are their numbers. The first half of pixels is what it sees of them, the second half what in them it answers to; smaller ones lie at the top left. */
export interface LensExamples {
  unit: number;
  /** Units of the layer, the one with the strongest answer first */
  units: number[];
  /** Its answers */
  values: (number | null)[];
  /** Height and width of each picture */
  sizes: number[][];
  /** Which part of the example it is: top, left, bottom, right */
  boxes: (number[] | null)[];
  /** How many examples were looked at */
  count: number;
}

/** Why one way of looking found nothing. */
export interface LensFailure {
  method: string;
  error: ErrorBody;
}

/** The same at all snapshots of the run, as one film; as a picture at the step itself. The class that is explained, where none is named, is what the network answers at step. */
export interface LensFilmQuestion {
  methods: string[];
  /** At the last snapshot that is not after it; None: the last one */
  step: number | null;
  /** Of which predictions the example is one */
  series: string | null;
  example: number | null;
  photo: string | null;
  /** What POST /lens/pictures said */
  picture: string | null;
  /** Number of the class; None: the network's answer */
  target: number | null;
  /** None: the last useful one */
  layer: string | null;
  channel: number | null;
  /** A layer whose channels stand where classes stood: target is one */
  inside: string | null;
  /** Row and column of one unit of that channel */
  place: number[] | null;
  /** Draw attributions with random weights, and say how alike they are */
  check: boolean;
  /** Settings of methods: {occlusion: {window: 8}} */
  options: Record<string, Record<string, number>>;
  /** Of the pictures to keep */
  theme: 'light' | 'dark';
  /** html is a page that plays the film; png is a picture at step */
  format: 'gif' | 'mp4' | 'html' | 'png';
  /** Frames a second */
  fps: number;
  /** No snapshot before this step */
  first: number | null;
  /** No snapshot after this step */
  last: number | null;
}

/** Header of the EPF1 container of one way of looking: maps f4 [K, h, w], of volumes [K, d, h, w], or pixels u1 [K, h, w, 3]. Of the input itself method is empty, and pixels are what people see of it. */
export interface LensHeader {
  arrays: ArrayDocument[];
  method: string;
  /** Which channels these are, strongest first; empty where there are none */
  channels: number[];
  /** How many channels the layer has */
  total: number;
  /** Of top examples */
  examples: LensExamples | null;
}

/** What the network was given, and what it says of it. */
export interface LensInput {
  name: string;
  /** Of the photo as people see it; 0 where it is no picture */
  height: number;
  width: number;
  /** The numbers of an input that is no picture */
  values: number[];
  /** The five likeliest classes */
  answers: LensAnswer[];
  meaning: 'softmax' | 'probabilities' | 'independent' | 'logistic' | 'number';
  notes: string[];
}

/** How a question to the lens stands. */
export interface LensJob {
  id: string;
  run: string;
  /** The step of the snapshot that is looked at */
  step: number;
  state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
  /** Questions that are answered before */
  ahead: number;
  /** What is going on: a process starts, it loads the network, or it looks; empty where nothing is */
  doing: '' | 'starting' | 'loading' | 'looking';
  /** How much of a long way of looking is done, from 0 to 1 */
  share: number | null;
  /** Goes up whenever something is new */
  version: number;
  methods: string[];
  input: LensInput | null;
  results: LensResult[];
  failures: LensFailure[];
  error: ErrorBody | null;
  /** Processors that it may take; one while a training writes into this folder */
  threads: number;
  seconds: number;
  /** What the file is called that a film ends with, at /lens/{job}/file */
  file: string | null;
}

/** A layer that can be looked at, by the name that the lens knows. */
export interface LensLayer {
  name: string;
  kind: string;
  /** Sizes of what it puts out for one example, empty where not known */
  shape: number[];
  /** Whether it puts out maps: channels with rows and columns */
  maps: boolean;
  /** Whether it holds other layers */
  block: boolean;
}

/** A way of looking. */
export interface LensMethod {
  name: string;
  kind: 'attribution' | 'maps' | 'kernels' | 'maximum' | 'examples';
  words: string;
  paper: string;
  /** Among image, target, layer and channel */
  takes: string[];
  /** Whether it asks the network many times */
  slow: boolean;
  /** Why this network cannot have it; or empty */
  reason: '' | 'torch' | 'convolution' | 'data';
  options: LensOption[];
}

/** A setting of a way of looking. */
export interface LensOption {
  name: string;
  words: string;
  low: number;
  high: number;
  whole: boolean;
}

/** An uploaded picture, kept for a while. */
export interface LensPicture {
  picture: string;
}

/** Ways of looking at one input, as the network was at a step. The input is a recorded example (series and example), a sample photo by its name, or an uploaded picture; ways of looking that need none can be asked without. */
export interface LensQuestion {
  methods: string[];
  /** At the last snapshot that is not after it; None: the last one */
  step: number | null;
  /** Of which predictions the example is one */
  series: string | null;
  example: number | null;
  photo: string | null;
  /** What POST /lens/pictures said */
  picture: string | null;
  /** Number of the class; None: the network's answer */
  target: number | null;
  /** None: the last useful one */
  layer: string | null;
  channel: number | null;
  /** A layer whose channels stand where classes stood: target is one */
  inside: string | null;
  /** Row and column of one unit of that channel */
  place: number[] | null;
  /** Draw attributions with random weights, and say how alike they are */
  check: boolean;
  /** Settings of methods: {occlusion: {window: 8}} */
  options: Record<string, Record<string, number>>;
  /** Of the pictures to keep */
  theme: 'light' | 'dark';
}

/** What one way of looking found; its maps are at /lens/{job}/maps. */
export interface LensResult {
  method: string;
  kind: 'attribution' | 'maps' | 'kernels' | 'maximum' | 'examples' | 'classes';
  layer: string | null;
  target: number | null;
  score: number | null;
  signed: boolean;
  /** Whether its map says where in the picture something is */
  places: boolean;
  units: string;
  caption: string;
  notes: string[];
  numbers: Record<string, number | null>;
  what: string;
  seconds: number;
  /** False for a first sight of what is still going on */
  done: boolean;
}

/** A value of a parameter, or a stretch of values, and how its finished trials did. */
export interface LevelDocument {
  label: string;
  value: unknown;
  /** Of a stretch: its least value */
  low: number | null;
  high: number | null;
  mean: number;
  trials: number;
  configurations: number;
}

/** The values of one series by step, those of one step in the order logged. */
export interface MediaDocument {
  series: string;
  /** Values in the steps asked for */
  total: number;
  /** Every n-th step is here; the last one always is */
  stride: number;
  items: MediaItemDocument[];
}

/** One logged value; its bytes are at /blob. */
export interface MediaItemDocument {
  step: number;
  t: number;
  /** Place in the list that it was logged in */
  index: number;
  kind: string;
  /** What /blob is asked for: <sha256>.<extension> */
  blob: string;
  /** Bytes of the blob */
  size: number;
  caption: string;
  /** What its kind tells besides: width, height, seconds, columns */
  meta: Record<string, unknown>;
}

/** A series of logged values that are no numbers. */
export interface MediaSeriesDocument {
  series: string;
  /** image, audio, video, text, html, table, figure, chart, array, voxels, ... */
  kinds: string[];
  count: number;
  /** At how many steps there are some */
  steps: number;
  first_step: number;
  last_step: number;
}

/** What one scalar series came to. */
export interface MetricDocument {
  n: number;
  last: number | null;
  last_step: number;
  first_step: number;
  min: number | null;
  min_step: number;
  max: number | null;
  max_step: number;
  mean: number | null;
  nan: number;
  inf: number;
  better: 'min' | 'max' | null;
}

/** What goes into the network and what comes out is called, as its recorded examples tell. */
export interface NamesDocument {
  /** Of the numbers of a row, in the order of the network's inputs; or empty */
  columns: string[];
  /** Of the network's outputs; or empty */
  classes: string[];
  /** What the network is given for a row of the columns' numbers */
  prepared: PreparedDocument | null;
}

/** Something to tell the reader: lost, damaged, hidden or thinned data. */
export interface NoticeDocument {
  code: string;
  message: string;
  hint: string;
  count: number;
}

/** One parameter of a layer. */
export interface ParameterDocument {
  name: string;
  shape: number[];
  dtype: string;
  role: 'weight' | 'bias' | 'buffer' | 'other';
  trainable: boolean;
  initializer: string | null;
  size: number;
  bytes: number;
}

/** Header of the EPF1 container of predictions: the likeliest class of each example at each step. steps [T]; of [T], the number of each step's set in sets; predicted, step after step, as many as its set has examples, the largest number of its type where there is no finite answer; labels, set after set that has some. */
export interface PredictionsHeader {
  arrays: ArrayDocument[];
  series: string;
  /** Steps recorded */
  total: number;
  /** Every n-th step is here; the last one always is */
  stride: number;
  /** Steps whose file is gone or no longer what it was */
  unreadable: number;
  /** Of each step, what /blob is asked for: safetensors, probabilities [N, C] */
  blobs: string[];
  sets: ExampleSetDocument[];
}

/** How rows for people become those that the network is given: value * scale + offset, column by column. */
export interface PreparedDocument {
  /** 0 of a column that is the same in all rows: of other values it is unknown */
  scale: number[];
  offset: number[];
}

/** One example for the network to answer: values for a network with one input, inputs for several. */
export interface Question {
  /** The numbers of one example, in C order of its shape */
  values: number[];
  /** The same of each input, in order, for a network that takes several */
  inputs: number[][];
  /** At the last snapshot that is not after it; None: the last one */
  step: number | null;
}

/** What people may change of a run; what is left out stays as it is. */
export interface RunChange {
  name?: string | null;
  tags?: string[] | null;
  notes?: string | null;
  archived?: boolean | null;
}

/** Everything small that is known of a run; the large things have their own addresses. */
export interface RunDetail {
  row: RunRow;
  path: string;
  code: Record<string, unknown>;
  environment: Record<string, unknown>;
  /** What the recorder chose and what it cost, as it measured itself */
  recorder: Record<string, unknown>;
  series: string[];
  tensors: TensorDocument[];
  layers: WeightLayerDocument[];
  /** Steps at which all parameters are kept exactly */
  snapshots: number[];
  /** Steps whose epoch is known, growing */
  epoch_steps: number[];
  /** The epoch at each of epoch_steps */
  epochs: number[];
  /** Whether /graph has an answer */
  graph: boolean;
  /** Whether the network can be rebuilt at a snapshot */
  network: boolean;
  /** What /ask takes, None where the network cannot be asked */
  ask: AskableDocument | null;
  /** Of a network with several inputs what /ask takes; else empty */
  ask_inputs: AskableInput[];
  /** Why the network cannot be asked, empty where it can */
  ask_reason: string;
  /** What inputs and outputs are called */
  names: NamesDocument;
  /** The film of what each class looks like to the network */
  class_images: TensorDocument | null;
  /** Logged values that are no numbers, by series */
  media: MediaSeriesDocument[];
  /** The newest 500 */
  alerts: AlertDocument[];
  /** Whether /console has lines */
  console: boolean;
  notices: NoticeDocument[];
}

/** One row of the runs table. */
export interface RunRow {
  /** project/run_id */
  id: string;
  project: string;
  run_id: string;
  name: string;
  status: 'running' | 'finished' | 'failed' | 'stopped' | 'crashed';
  created: number;
  ended: number | null;
  seconds: number | null;
  last_step: number | null;
  last_epoch: number | null;
  /** From the config's epochs, where there is one */
  total_epochs: number | null;
  group: string | null;
  /** project/run_id of the run that it was forked from */
  parent: string | null;
  /** The step of the parent at which it begins */
  parent_step: number | null;
  tags: string[];
  notes: string;
  archived: boolean;
  /** Numbers in all weights and biases, where known */
  parameters: number | null;
  /** Flat: nested keys joined by '/' */
  config: Record<string, unknown>;
  metrics: Record<string, MetricDocument>;
  spark: SparkDocument | null;
  error: string | null;
  /** How many notices the run has of things that were lost, hidden or damaged */
  notices: number;
  /** Changes when anything of the run changed on disk */
  version: string;
}

/** All runs, newest first. */
export interface RunTable {
  runs: RunRow[];
  notices: NoticeDocument[];
}

/** How much of a series an answer holds; the header Epochal-Series has one of these for each name. */
export interface SeriesKept {
  /** Rows of the series in the steps asked for */
  n: number;
  /** Rows of it in the answer */
  kept: number;
  nan: number;
  inf: number;
}

/** A skip connection: where it leaves the main path, where it joins it, and the layers on its own way. */
export interface SkipDocument {
  source: string;
  target: string;
  through: string[];
}

/** A series in at most 64 numbers. */
export interface SparkDocument {
  name: string;
  values: (number | null)[];
}

/** Repeats of one configuration against configurations. */
export interface SpreadDocument {
  repeats_std: number | null;
  configurations_std: number | null;
  /** Of the variance, between configurations; null where nothing was repeated */
  share: number | null;
  low: number | null;
  high: number | null;
  configurations: number;
  repeats: number[];
  sentence: string;
}

/** Header of the EPF1 container of one statistic: starts [series + 1], steps [total], values [total]. The values of the i-th series are those from starts[i] to starts[i + 1]. */
export interface StatisticsHeader {
  arrays: ArrayDocument[];
  kind: 'param' | 'grad' | 'act';
  /** Which statistic */
  column: string;
  series: string[];
}

/** What this Studio is. */
export interface StudioDocument {
  version: string;
  /** True when a server answers, False inside an exported file */
  live: boolean;
  /** Name of the folder of runs, for people */
  root: string;
  /** Whether runs can be renamed, tagged, archived and deleted here */
  writable: boolean;
  /** File suffixes an export can have here, such as gif */
  export_formats: string[];
}

/** A tensor that was recorded through time. */
export interface TensorDocument {
  /** param/<name>, grad/<name>, act/<layer>, or the name of a logged histogram */
  series: string;
  kind: 'param' | 'grad' | 'act' | 'hist' | 'lens';
  name: string;
  /** As it is shown, outputs first; None where only statistics are kept */
  shape: number[] | null;
  /** Order of the stored axes in shape; empty where it is the same */
  layout: number[];
  dtype: string | null;
  /** Steps at which its values are kept exactly */
  frames: number;
  /** Steps at which its statistics and histogram are kept */
  rows: number;
  /** How much its mean moved over the run, in units of its first std */
  change: number | null;
}

/** One training of a lab. */
export interface TrialDocument {
  trial: number;
  /** Trials of one configuration have equal parameters */
  configuration: number;
  repeat: number;
  seed: number;
  status: 'waiting' | 'running' | 'finished' | 'failed' | 'stopped';
  /** project/run_id of the run that recorded it */
  run: string | null;
  attempt: number;
  error: string | null;
  traceback: string | null;
  seconds: number | null;
  parameters: Record<string, unknown>;
  metrics: Record<string, number | null>;
}

/** A layer with parameters, as the Weights page shows it. */
export interface WeightLayerDocument {
  layer: string;
  kind: string;
  activation: string | null;
  inputs: number | null;
  outputs: number | null;
  weight: TensorDocument | null;
  bias: TensorDocument | null;
  others: TensorDocument[];
}
