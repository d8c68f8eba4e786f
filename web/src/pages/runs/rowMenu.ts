/** What can be done with a run from its row. */
import { pythonRun } from '../../charts/chart'
import { address } from '../../state/address.svelte'
import { dialogs } from '../../state/dialogs.svelte'
import { selection } from '../../state/selection.svelte'
import { copyText, toasts } from '../../state/toasts.svelte'
import type { RunRow } from '../../wire/types'
import type { MenuItem } from '../../widgets/items'
import { words as all } from '../../words'
import { archive, remove } from './actions'
import { words } from './words'

async function copy(text: string): Promise<void> {
  if (await copyText(text)) toasts.say(all.app.copied)
}

/** `edit` begins to change the name or the tags in the row; what changes runs is left out where nothing can be. */
export function rowMenu(run: RunRow, writable: boolean, edit: (what: 'name' | 'tags') => void): MenuItem[] {
  const details = () => {
    selection.choose(run.id)
    dialogs.open = 'details'
  }
  const only = () => {
    address.set('show', run.id)
    selection.choose(run.id)
  }
  const list: MenuItem[] = [
    { label: all.details.open, icon: 'columns', act: details },
    { label: words.only, icon: 'check', act: only },
    { label: words.copyPython, icon: 'copy', act: () => void copy(pythonRun(run.id)) },
    { label: words.copyId, icon: 'copy', act: () => void copy(run.id) },
  ]
  if (!writable) return list
  const exportIt = () => {
    selection.choose(run.id)
    dialogs.openExport()
  }
  const archiveLabel = run.archived ? words.unarchive : words.archive
  return [
    { label: words.rename, icon: 'edit', act: () => edit('name') },
    { label: words.tag, icon: 'tag', act: () => edit('tags') },
    ...list,
    { label: words.export, icon: 'download', act: exportIt },
    { label: archiveLabel, icon: 'archive', act: () => void archive(run, !run.archived) },
    { label: words.delete, icon: 'trash', danger: true, act: () => void remove(run) },
  ]
}
