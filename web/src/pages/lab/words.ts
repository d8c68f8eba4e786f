/** Words of the Lab page. Sentence case, no full stop. */

const count = (n: number, one: string, many = one + 's') => `${n.toLocaleString('en')} ${n === 1 ? one : many}`

export const labWords = {
  choose: 'Lab',
  about: (trials: number, configurations: number, repeats: number) =>
    [count(trials, 'trial'), count(configurations, 'configuration'), count(repeats, 'repeat')].join(' · '),
  counts: {
    waiting: 'waiting',
    running: 'running',
    finished: 'finished',
    failed: 'failed',
    stopped: 'stopped',
  } as const,
  running: 'running now',
  trained: (time: string) => `${time} of training`,
  best: (trial: number, metric: string, value: string) => `Best: trial ${trial}, ${metric} ${value}`,
  saveAll: 'Save all',
  saveAllAbout: 'Save all: charts and tables of this page in one ZIP file',
  savePng: 'Charts as PNG, tables as CSV',
  saveSvg: 'Charts as SVG, tables as CSV',
  saving: 'Saving…',
  metric: 'Effects on',
  colourBy: 'Colour by',
  byTrial: 'configuration',
  waiting: 'Waiting for the trials',

  trials: 'Trials',
  trialsAbout: (shown: number, all: number) =>
    shown === all
      ? `all ${count(all, 'trial')}`
      : `${shown.toLocaleString('en')} of ${count(all, 'trial')} in the charts`,
  trial: 'trial',
  trialsColumn: 'trials',
  status: 'status',
  time: 'time',
  hide: (n: number) => `Leave trial ${n} out of the charts`,
  show: (n: number) => `Show trial ${n} in the charts`,
  pin: (n: number) => `Pin trial ${n}: compare its confusion matrix`,
  unpin: (n: number) => `Let trial ${n} go`,
  open: (n: number) => `Look at trial ${n} on the other pages`,
  opened: (n: number) => `Trial ${n} is the run that the other pages show`,
  noRun: 'Its run is gone, or it has none yet',
  clear: 'Show all again',
  filtered: 'Filtered',

  curves: (name: string) => `${name} of all trials`,
  curvesAbout: 'by epoch, dashed: training, solid: held back',
  curvesOne: 'by epoch, as logged',
  curvesWay: (come: number, all: number) =>
    `curves of ${come.toLocaleString('en')} of ${all.toLocaleString('en')} trials`,
  quantity: 'Quantity',
  noCurves: 'These trials logged no curves',
  epoch: 'epoch',
  at: (epoch: string) => `epoch ${epoch}`,
  train: 'training',
  validation: 'held back',

  bars: 'Time and means',
  barsAbout: (k: number) => `means over the epochs after the first ${k}`,
  skip: 'Epochs left out at the start',
  shorter: (n: number, k: number) =>
    `${count(n, 'trial')} ${n === 1 ? 'has' : 'have'} no epoch after the first ${k}: no bar`,
  barTime: 'Time in seconds',
  barMean: (name: string) => `Mean ${name}`,
  one: 'Each',
  grouped: 'Together, by time',
  layout: 'Bars',
  groupedAbout: 'each as a share of its largest',

  parallel: 'Parameters and outcomes',
  parallelAbout: 'drag along an axis to keep a stretch of it, press an axis to let go',
  scatter: 'Scatter',
  scatterX: 'Across',
  scatterY: 'Up',

  effects: 'What each parameter did',
  effectsAbout: (metric: string, trials: number) =>
    `differences of ${metric} with 95 % intervals, ${count(trials, 'finished trial')}`,
  effectsWait: 'Working out what each parameter did',
  noEffects: 'No parameter differs between finished trials yet',
  noneFinished: 'No trial has finished yet: what each parameter did is told here as soon as some have',
  noneFinite: 'No finished trial has a number to compare',
  notFinite: 'not finite',
  noSpots: 'No trial has a number in both: choose other columns',
  allHidden: 'All trials are hidden: press "Show all again" above',
  noneBegan: 'No trial has begun',
  noneBeganRunning: 'The lab is being run; its trials appear here as they train',
  noneBeganText: 'Nothing runs this lab now. Go on with it',
  resume: 'epochal lab run lab.toml --resume',
  points: 'percentage points',
  difference: (metric: string) => `difference of ${metric}`,
  share: (text: string) => `${text} of the variance`,
  levels: 'Its values',
  value: 'value',
  mean: 'mean',
  configurations: 'configurations',
  comparisons: 'Differences between them',
  interactions: 'Two together',
  noInteractions: 'There are not two parameters to compare',
  spread: 'Choice or chance',
  spreadAbout: 'where the variance of all trials comes from',
  rest: 'three or more together',
  pairs: 'pairs of parameters',
  repeats: 'repeats: the seed',
  opinion: 'A second opinion',
  opinionAbout: 'importance by Optuna (fANOVA), of trials as they are',
  opinionAsk: 'Ask Optuna',
  opinionNone: 'pip install epochal[optuna,sklearn] gives a second opinion here',

  matrices: 'Confusion of pinned trials',
  matricesAbout: 'at the last epoch of each; press a pin in the table to add one',
  noMatrix: (n: number) => `Trial ${n} has no predictions`,
  pinSome: 'Pin trials in the table to see their confusion side by side',
  matrixOf: (n: number) => `Confusion of trial ${n}`,
  right: (text: string) => `${text} right`,

  failed: 'Failed and stopped trials',
  failedAbout: (n: number) => count(n, 'trial'),
  traceback: 'Traceback',
  noError: 'It left no word',
  attempt: (n: number) => `attempt ${n}`,
  source: 'The lab.toml',

  copy: 'Labs are not in this copy',
  copyText: 'This page holds one run. The lab that it may belong to is shown where its runs lie',
  none: 'No lab yet',
  noneText: 'A lab trains a family of networks and tells which choice mattered. Save this as lab.toml',
  noneRun: 'and run it; the trials appear here as they train',
  toml: `[lab]
name = "mnist3d"
model = "epochal:convnet3d"
data = "epochal:mnist3d"
objective = "val_accuracy"
repeats = 3

[parameters]
epochs = 10

[space]
dropout = [0.2, 0.5]
learning_rate = [0.01, 0.001]`,
  command: 'epochal lab run lab.toml --jobs 2',
  demo: 'epochal demo lab',
  gone: (id: string) => `There is no lab ${id} here (any more); this is the newest`,
}
