/**
 * Two ways to draw the same chart: on a canvas for the screen and PNG, as text for SVG.
 * Coordinates are CSS pixels. A chart is a function that takes a pen.
 */

export interface Stroke {
  color: string
  width?: number
  alpha?: number
  dash?: readonly number[]
}

export interface TextStyle {
  color: string
  size?: number
  weight?: number
  align?: 'left' | 'center' | 'right'
  /** Which part of the letters stands at y. */
  base?: 'alphabetic' | 'middle' | 'top'
}

export interface Pen {
  /** A line through points x0, y0, x1, y1, ...; NaN breaks it. */
  line(points: ArrayLike<number>, stroke: Stroke): void
  /** The inside of a closed line. */
  area(points: ArrayLike<number>, color: string, alpha?: number): void
  rect(x: number, y: number, width: number, height: number, color: string, alpha?: number): void
  dots(points: ArrayLike<number>, radius: number, color: string): void
  text(text: string, x: number, y: number, style: TextStyle): void
  /** A picture stretched over a rectangle, its pixels kept sharp. */
  image(image: HTMLCanvasElement, x: number, y: number, width: number, height: number): void
  /** Moves everything that is drawn from now on. */
  shift(x: number, y: number): void
}

const FONT = 'Inter, system-ui, sans-serif'

let font: string | null = null

/** The type family of the page, so that canvases write as the rest does. Asked once: asking is dear. */
export function pageFont(): string {
  if (typeof document === 'undefined') return FONT
  font ??= getComputedStyle(document.body).fontFamily || FONT
  return font
}

/** Draws on a canvas whose transform maps CSS pixels to its own. */
export class CanvasPen implements Pen {
  readonly #g: CanvasRenderingContext2D
  readonly #font: string

  constructor(g: CanvasRenderingContext2D, font = pageFont()) {
    this.#g = g
    this.#font = font
  }

  line(points: ArrayLike<number>, { color, width = 1, alpha = 1, dash = [] }: Stroke): void {
    const g = this.#g
    g.globalAlpha = alpha
    g.strokeStyle = color
    g.lineWidth = width
    g.lineJoin = 'round'
    g.setLineDash([...dash])
    g.beginPath()
    trace(points, (x, y, first) => (first ? g.moveTo(x, y) : g.lineTo(x, y)))
    g.stroke()
    g.setLineDash([])
    g.globalAlpha = 1
  }

  area(points: ArrayLike<number>, color: string, alpha = 1): void {
    const g = this.#g
    g.globalAlpha = alpha
    g.fillStyle = color
    g.beginPath()
    trace(points, (x, y, first) => (first ? g.moveTo(x, y) : g.lineTo(x, y)))
    g.closePath()
    g.fill()
    g.globalAlpha = 1
  }

  rect(x: number, y: number, width: number, height: number, color: string, alpha = 1): void {
    this.#g.globalAlpha = alpha
    this.#g.fillStyle = color
    this.#g.fillRect(x, y, width, height)
    this.#g.globalAlpha = 1
  }

  dots(points: ArrayLike<number>, radius: number, color: string): void {
    const g = this.#g
    g.fillStyle = color
    g.beginPath()
    for (let i = 0; i + 1 < points.length; i += 2) {
      if (!Number.isFinite(points[i]! + points[i + 1]!)) continue
      g.moveTo(points[i]! + radius, points[i + 1]!)
      g.arc(points[i]!, points[i + 1]!, radius, 0, 2 * Math.PI)
    }
    g.fill()
  }

  text(
    text: string,
    x: number,
    y: number,
    { color, size = 11, weight = 400, align = 'left', base = 'alphabetic' }: TextStyle,
  ): void {
    const g = this.#g
    g.font = `${weight} ${size}px ${this.#font}`
    g.textAlign = align
    g.textBaseline = base
    g.fillStyle = color
    g.fillText(text, x, y)
  }

  image(image: HTMLCanvasElement, x: number, y: number, width: number, height: number): void {
    this.#g.imageSmoothingEnabled = false
    this.#g.drawImage(image, x, y, width, height)
  }

  shift(x: number, y: number): void {
    this.#g.translate(x, y)
  }
}

/** Writes SVG. */
export class SvgPen implements Pen {
  readonly #parts: string[] = []
  #open = 0
  readonly #font: string

  constructor(font = pageFont()) {
    this.#font = font
  }

  line(points: ArrayLike<number>, { color, width = 1, alpha = 1, dash = [] }: Stroke): void {
    const dashed = dash.length ? ` stroke-dasharray="${dash.join(' ')}"` : ''
    const faint = alpha < 1 ? ` stroke-opacity="${alpha}"` : ''
    this.#parts.push(
      `<path d="${path(points)}" fill="none" stroke="${escape(color)}" stroke-width="${width}" stroke-linejoin="round"${faint}${dashed}/>`,
    )
  }

  area(points: ArrayLike<number>, color: string, alpha = 1): void {
    this.#parts.push(
      `<path d="${path(points)}Z" fill="${escape(color)}"${alpha < 1 ? ` fill-opacity="${alpha}"` : ''}/>`,
    )
  }

  rect(x: number, y: number, width: number, height: number, color: string, alpha = 1): void {
    const faint = alpha < 1 ? ` fill-opacity="${alpha}"` : ''
    this.#parts.push(
      `<rect x="${short(x)}" y="${short(y)}" width="${short(width)}" height="${short(height)}" fill="${escape(color)}"${faint}/>`,
    )
  }

  dots(points: ArrayLike<number>, radius: number, color: string): void {
    for (let i = 0; i + 1 < points.length; i += 2) {
      if (!Number.isFinite(points[i]! + points[i + 1]!)) continue
      this.#parts.push(
        `<circle cx="${short(points[i]!)}" cy="${short(points[i + 1]!)}" r="${radius}" fill="${escape(color)}"/>`,
      )
    }
  }

  text(
    text: string,
    x: number,
    y: number,
    { color, size = 11, weight = 400, align = 'left', base = 'alphabetic' }: TextStyle,
  ): void {
    const anchor = { left: 'start', center: 'middle', right: 'end' }[align]
    const baseline = { alphabetic: 'alphabetic', middle: 'central', top: 'hanging' }[base]
    this.#parts.push(
      `<text x="${short(x)}" y="${short(y)}" font-size="${size}" font-weight="${weight}" fill="${escape(color)}" text-anchor="${anchor}" dominant-baseline="${baseline}">${escape(text)}</text>`,
    )
  }

  image(image: HTMLCanvasElement, x: number, y: number, width: number, height: number): void {
    this.#parts.push(
      `<image x="${short(x)}" y="${short(y)}" width="${short(width)}" height="${short(height)}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${image.toDataURL('image/png')}"/>`,
    )
  }

  shift(x: number, y: number): void {
    this.#parts.push(`<g transform="translate(${short(x)} ${short(y)})">`)
    this.#open++
  }

  /** The whole document. */
  document(width: number, height: number, background: string | null = null): string {
    const back = background ? `<rect width="100%" height="100%" fill="${escape(background)}"/>` : ''
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${escape(this.#font)}">${back}${this.#parts.join('')}${'</g>'.repeat(this.#open)}</svg>\n`
  }
}

/** Walks a line, starting anew after each point that is not finite. */
function trace(points: ArrayLike<number>, go: (x: number, y: number, first: boolean) => void): void {
  let first = true
  for (let i = 0; i + 1 < points.length; i += 2) {
    const x = points[i]!
    const y = points[i + 1]!
    if (!Number.isFinite(x + y)) {
      first = true
      continue
    }
    go(x, y, first)
    first = false
  }
}

function path(points: ArrayLike<number>): string {
  const parts: string[] = []
  trace(points, (x, y, first) => parts.push(`${first ? 'M' : 'L'}${short(x)} ${short(y)}`))
  return parts.join('')
}

const short = (v: number) => String(Math.round(v * 100) / 100)

const escape = (text: string) =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!)

/** A canvas's context, cleared and scaled to CSS pixels; null where there is none. */
export function brush(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  const g = canvas.getContext('2d')
  if (!g) return null
  g.setTransform(1, 0, 0, 1, 0, 0)
  g.clearRect(0, 0, canvas.width, canvas.height)
  g.setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0)
  return g
}
