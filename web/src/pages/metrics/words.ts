/** Words of the Metrics page. */

/** Units of the machine's numbers, by what stands behind `system/`; `gpu/` is any of them. */
const UNITS: Record<string, string> = {
  cpu: '%',
  memory: '%',
  process_cpu: '%',
  process_memory: 'MB',
  disk_free: 'GB',
  disk_read: 'MB/s',
  disk_write: 'MB/s',
  net_sent: 'MB/s',
  net_received: 'MB/s',
  'gpu/use': '%',
  'gpu/memory': '%',
  'gpu/process_memory': 'MB',
  'gpu/power': 'W',
  'gpu/temperature': '°C',
}

export const words = {
  about: (charts: number, runs: number) =>
    `${charts.toLocaleString('en')} ${charts === 1 ? 'metric' : 'metrics'} of ${runs.toLocaleString('en')} ${runs === 1 ? 'run' : 'runs'}`,
  search: 'Filter charts (regex)',
  searchLabel: 'Filter charts by a regular expression',
  badPattern: 'not a regular expression',
  none: 'No chart fits the filter',
  clear: 'Clear the filter',
  smoothing: 'Smoothing',
  xAxis: 'X axis',
  x: { step: 'Step', epoch: 'Epoch', relative: 'Relative time', wall: 'Wall time' },
  metricAxis: 'A metric',
  logX: 'Log x',
  logY: 'Log y',
  outliers: 'Ignore outliers',
  outliersHint: 'The outermost 2 % of values do not widen the y axis',
  sync: 'Sync zoom',
  syncHint: 'A zoom in one chart is a zoom in all',
  view: 'View',
  reset: 'Reset zoom',
  pinned: 'Pinned',
  general: 'General',
  machine: 'Machine',
  /** A series as the title of its chart, with its unit where that is known. */
  titled: (name: string) => {
    const unit = name.startsWith('system/') ? UNITS[name.slice(7).replace(/^gpu\d+\//, 'gpu/')] : undefined
    return unit ? `${name} (${unit})` : name
  },
  pin: 'Pin to the top',
  unpin: 'Unpin',
  wider: 'Wider',
  narrower: 'Narrower',
  group: 'Runs',
  each: 'Each run',
  meanBy: (key: string) => `Mean by ${key}`,
  nonfinite: (nan: number, inf: number) =>
    [nan && `${nan.toLocaleString('en')} NaN`, inf && `${inf.toLocaleString('en')} infinite`]
      .filter(Boolean)
      .join(', '),
  nonfiniteHint: (list: string) => `Not finite, shown as gaps: ${list}`,
  without: (n: number) => `${n} not drawn`,
  withoutHint: 'Runs that do not have this x axis are not drawn',
  hidden: (n: number) => `${n.toLocaleString('en')} ≤ 0`,
  hiddenHint: 'A log axis cannot show zero or less',
  charts: (n: number) => String(n),
  label: (name: string, runs: number) => `${name}: ${runs} ${runs === 1 ? 'line' : 'lines'} over training`,
  more: (n: number) => `and ${n} more`,
  loading: 'Loading',
  failed: (message: string) => `Could not be loaded: ${message}`,
  noFinite: 'Recorded, but never a finite number',
  noneOfRuns: 'None of the shown runs has it',
} as const
