/** Light or dark: as the system says, unless the user chose; the choice is kept in the browser. */
export type ThemeChoice = 'system' | 'light' | 'dark'
export type Theme = 'light' | 'dark'

const KEY = 'epochal-theme'

class ThemeState {
  choice = $state<ThemeChoice>('system')
  #system = $state<Theme>('light')
  /** What is drawn. Canvases read it, so that they are drawn anew when it changes. */
  name: Theme = $derived(this.choice === 'system' ? this.#system : this.choice)
  readonly #colours = new Map<string, string>()

  start(): void {
    const query = matchMedia('(prefers-color-scheme: dark)')
    const look = () => (this.#system = query.matches ? 'dark' : 'light')
    look()
    query.addEventListener('change', () => {
      look()
      this.#apply()
    })
    const kept = stored()
    if (kept === 'light' || kept === 'dark') this.choice = kept
    this.#apply()
  }

  set(choice: ThemeChoice): void {
    this.choice = choice
    try {
      if (choice === 'system') localStorage.removeItem(KEY)
      else localStorage.setItem(KEY, choice)
    } catch {
      // A page opened from disk, or in a frame, may have no storage: the choice then lasts as long as the page.
    }
    this.#apply()
  }

  toggle(): void {
    this.set(this.name === 'dark' ? 'light' : 'dark')
  }

  /** The colour of a custom property of app/app.css, such as `--ink`, in the theme that is drawn. */
  colour(property: string): string {
    const key = `${this.name} ${property}`
    let colour = this.#colours.get(key)
    if (colour === undefined) {
      // The page may not wear the theme yet that is asked for: it is put on first.
      this.#apply()
      colour = getComputedStyle(document.documentElement).getPropertyValue(property).trim()
      this.#colours.set(key, colour)
    }
    return colour
  }

  #apply(): void {
    document.documentElement.dataset.theme = this.name
  }
}

function stored(): string | null {
  try {
    return localStorage.getItem(KEY)
  } catch {
    return null
  }
}

export const theme = new ThemeState()
