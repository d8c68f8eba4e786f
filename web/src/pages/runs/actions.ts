/** What people do to runs; each tells what happened, and deleting can be undone. */
import { source } from '../../source/source'
import { address } from '../../state/address.svelte'
import { catalogue } from '../../state/catalogue.svelte'
import { toasts } from '../../state/toasts.svelte'
import { words as appWords } from '../../words'
import type { RunChange, RunRow } from '../../wire/types'
import { words } from './words'

/** Changes a run; the table shows it at once, and goes back when the server refuses. */
export async function change(run: RunRow, what: RunChange): Promise<boolean> {
  const set = Object.fromEntries(Object.entries(what).filter(([, v]) => v !== null && v !== undefined))
  catalogue.put({ ...run, ...set })
  try {
    catalogue.put(await source().change(run.id, what))
    return true
  } catch (error) {
    catalogue.put(run)
    toasts.fail(error)
    return false
  }
}

export async function archive(run: RunRow, archived: boolean): Promise<void> {
  if (!(await change(run, { archived }))) return
  toasts.say((archived ? words.archivedToast : words.unarchivedToast)(run.name), {
    action: { label: appWords.app.undo, act: () => void change({ ...run, archived }, { archived: !archived }) },
  })
}

export async function remove(run: RunRow): Promise<void> {
  try {
    await source().remove(run.id)
  } catch (error) {
    toasts.fail(error)
    return
  }
  catalogue.drop(run.id)
  if (address.get('run') === run.id) address.set('run', null)
  toasts.say(words.deleted(run.name), { action: { label: appWords.app.undo, act: () => void bringBack(run) } })
}

async function bringBack(run: RunRow): Promise<void> {
  try {
    catalogue.put(await source().restore(run.id))
    toasts.say(words.restored(run.name))
  } catch (error) {
    toasts.fail(error)
  }
}
