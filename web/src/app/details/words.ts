/** Words of the dialog with a run's details. */
const count = (n: number, one: string) => `${n.toLocaleString('en')} ${n === 1 ? one : one + 's'}`

export const detailsWords = {
  tabs: { overview: 'Overview', alerts: 'Alerts', console: 'Console', code: 'Code' },
  tabList: 'Parts of the details',
  levels: { info: 'Info', warning: 'Warning', error: 'Error' },
  step: (step: string) => `step ${step}`,
  rule: (rule: string) => `rule ${rule}`,
  rank: (rank: number) => `rank ${rank}`,
  goTo: (step: string) => `Move the playhead to step ${step}`,
  newest: 'The newest 500 are here',
  search: 'Find in the lines',
  lines: (shown: number, all: number, more: boolean) =>
    (shown === all ? '' : `${shown.toLocaleString('en')} of `) + (more ? 'the last ' : '') + count(all, 'line'),
  more: 'Show more lines',
  following: 'Follows the run',
  noLines: 'No line has that in it',
  consoleLabel: 'What the training printed',
  stderr: 'error output',
  origin: 'Where it comes from',
  changes: 'Changes since the commit',
  changesLabel: 'Changes of the code since its commit',
  noChanges: 'Nothing was changed since the commit',
  cut: (n: number) => `The first ${n.toLocaleString('en')} lines are here`,
  packages: (n: number) => count(n, 'package'),
  filter: 'Filter packages',
  noPackages: 'No package fits the filter',
  failed: 'Could not be loaded',
  loading: 'Loading',
} as const
