/** Keys that work on every page; none while something is typed. */
import { address } from '../state/address.svelte'
import { dialogs } from '../state/dialogs.svelte'
import { playhead } from '../state/playhead.svelte'
import { selection } from '../state/selection.svelte'
import { theme } from '../state/theme.svelte'
import { PAGES } from './pages'

/** Elements that need these keys for themselves. */
const TYPING = 'input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable=true], dialog'
const OWN_ARROWS = '[role=menu], [role=radiogroup], input[type=radio], [data-arrows]'
const OWN_SPACE = 'button, a[href], summary, input'

export function handleKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
  const target = event.target instanceof Element ? event.target : document.body
  if (target.closest(TYPING)) return
  if (act(event, target)) event.preventDefault()
}

function act(event: KeyboardEvent, target: Element): boolean {
  const { key } = event
  if (key >= '1' && key <= '9') {
    const page = PAGES[Number(key) - 1]
    if (page) address.go(page.id)
    return page !== undefined
  }
  switch (key) {
    case '/': {
      const field = ['main', 'aside']
        .map((room) => document.querySelector<HTMLInputElement>(`${room} [data-search]`))
        .find((found) => found)
      field?.focus()
      field?.select()
      return field !== undefined
    }
    case '?':
      dialogs.open = 'help'
      return true
    case 'i':
      if (selection.current) dialogs.open = 'details'
      return true
    case 'd':
      theme.toggle()
      return true
    case '[':
      selection.move(-1)
      return true
    case ']':
      selection.move(1)
      return true
    case ' ':
      if (target.closest(OWN_SPACE)) return false
      playhead.toggle()
      return true
  }
  if (target.closest(OWN_ARROWS)) return false
  switch (key) {
    case 'ArrowLeft':
      playhead.pause()
      playhead.move(event.shiftKey ? -10 : -1)
      return true
    case 'ArrowRight':
      playhead.pause()
      playhead.move(event.shiftKey ? 10 : 1)
      return true
    case 'PageUp':
    case 'PageDown':
      // Pages scroll with these, unless the playhead itself has the focus.
      if (!target.closest('[role=slider]')) return false
      playhead.pause()
      playhead.move(key === 'PageUp' ? 10 : -10)
      return true
    case 'Home':
      playhead.home()
      return true
    case 'End':
      playhead.follow()
      return true
  }
  return false
}
