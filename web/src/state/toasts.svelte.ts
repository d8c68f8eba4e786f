/** Short messages at the edge of the screen; one may carry something to undo. */
export interface Toast {
  id: number
  text: string
  /** Something went wrong: read out at once, and stays longer. */
  bad?: boolean
  action?: { label: string; act: () => void }
}

const SHOWN_MS = 6000

class Toasts {
  list = $state<Toast[]>([])
  #next = 1

  say(text: string, options: Omit<Toast, 'id' | 'text'> = {}): void {
    const id = this.#next++
    this.list.push({ id, text, ...options })
    setTimeout(() => this.dismiss(id), options.bad || options.action ? SHOWN_MS * 1.5 : SHOWN_MS / 2)
  }

  /** Tells of a failure in the words that came with it. */
  fail(error: unknown): void {
    const hint = error instanceof Error && 'hint' in error && error.hint ? ` (${String(error.hint)})` : ''
    this.say((error instanceof Error ? error.message : String(error)) + hint, { bad: true })
  }

  dismiss(id: number): void {
    this.list = this.list.filter((t) => t.id !== id)
  }
}

export const toasts = new Toasts()

/** Copies text; where the browser does not let us, says so and gives false. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    // Pages opened from disk have no clipboard; the old way still works there.
    const area = document.createElement('textarea')
    area.value = text
    document.body.append(area)
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    return done
  }
}
