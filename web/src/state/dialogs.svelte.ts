/** Which dialog is open, and what it was opened with. */
class Dialogs {
  open = $state<'export' | 'help' | 'details' | null>(null)
  exportWhat = $state<{ what: string; layers?: string } | null>(null)

  openExport(what: { what: string; layers?: string } | null = null): void {
    this.exportWhat = what
    this.open = 'export'
  }
}

export const dialogs = new Dialogs()
