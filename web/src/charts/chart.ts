/**
 * What every chart has: a picture that can be saved, numbers that can be saved, and Python that draws it again.
 *
 * A chart is a Svelte component that gets its data as props, reads the playhead (`state/playhead.svelte.ts`) in an
 * effect of its own, draws on a canvas or SVG, and hands a `ChartActions` to the `Card` (`widgets/Card.svelte`) that it
 * stands in; the card's menu offers what is there.
 */

export interface ChartActions {
  /** Name of saved files, without suffix. */
  name: string
  /** The picture as drawn. */
  png?: () => Blob | null | Promise<Blob | null>
  /** The picture as text. */
  svg?: () => string
  /** The numbers behind it, first line the names of the columns. */
  csv?: () => string | Promise<string>
  /** Python that gets the same numbers or picture. */
  python?: () => string
  /** Opens the export dialog with this chosen, for films. */
  film?: { what: string; layers?: string }
}

/** A canvas as a PNG file. */
export function canvasPng(canvas: HTMLCanvasElement): Promise<Blob | null> {
  return new Promise((done) => canvas.toBlob(done, 'image/png'))
}

/** A picture as text turned into a PNG file, at twice its size so that it is sharp when printed. */
export async function svgPng(svg: string, scale = 2): Promise<Blob | null> {
  const url = URL.createObjectURL(new Blob([svg], { type: 'image/svg+xml' }))
  try {
    const image = new Image()
    image.src = url
    await image.decode()
    const canvas = document.createElement('canvas')
    canvas.width = image.naturalWidth * scale
    canvas.height = image.naturalHeight * scale
    canvas.getContext('2d')?.drawImage(image, 0, 0, canvas.width, canvas.height)
    return await canvasPng(canvas)
  } finally {
    URL.revokeObjectURL(url)
  }
}

/** Rows as CSV; numbers keep all their digits. */
export function csvText(columns: readonly string[], rows: Iterable<readonly (string | number | null)[]>): string {
  const cell = (v: string | number | null) => {
    const text = v === null ? '' : String(v)
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  const lines = [columns.map(cell).join(',')]
  for (const row of rows) lines.push(row.map(cell).join(','))
  return lines.join('\n') + '\n'
}

/** The start of a Python snippet: the run opened by name. */
export function pythonRun(id: string): string {
  return `import epochal\n\nrun = epochal.open().run(${JSON.stringify(id)})\n`
}

/** Makes the browser save a file. */
export function save(file: Blob | string, name: string, type = 'text/plain'): void {
  const blob = typeof file === 'string' ? new Blob([file], { type }) : file
  const url = URL.createObjectURL(blob)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

/** Sets a canvas to a size in CSS pixels at the screen's density; true when it changed. Clears it if so. */
export function fitCanvas(canvas: HTMLCanvasElement, width: number, height: number): boolean {
  const ratio = Math.max(1, devicePixelRatio || 1)
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))]
  if (canvas.width === w && canvas.height === h) return false
  canvas.width = w
  canvas.height = h
  canvas.style.width = `${width}px`
  canvas.style.height = `${height}px`
  return true
}
