/** A canvas that shows a block: with the graphics card where there is one, otherwise pixel by pixel; coarser while it moves. */
import { turnOf } from './pose'
import { drawCubes } from './rays'
import { Renderer, type Drawn, type Look } from './renderer'

/**
 * A picture that moves should take no longer than this (it is seen with the frame after), one that rests than that. What
 * glass costs hangs by the side it is seen from, so that more room is left.
 */
const MOVING_MS = { cubes: 24, glass: 18, plain: 24 }
const RESTING_MS = 500
const RESTS_AFTER_MS = 160
const LEAST = { cubes: 0.45, glass: 0.22, plain: 0.2 }
const RESTING = { cubes: 1, glass: 0.75, plain: 0.6 }

export interface Measured {
  frames: number
  /** Of the last picture. */
  ms: number
  quality: number
  /** Drawn by WebGL2. */
  card: boolean
}

export class Stage {
  readonly measured: Measured = { frames: 0, ms: 0, quality: 1, card: false }
  /** Told when the context has gone or come back. */
  onlost: (lost: boolean) => void = () => {}
  readonly #canvas: HTMLCanvasElement
  readonly #renderer: Renderer | null
  readonly #lost = () => this.onlost(true)
  #drawn: Drawn | null = null
  #look: Look | null = null
  #size = 0
  /** Milliseconds for a picture of full size, by what is drawn. */
  #cost: Record<'cubes' | 'glass' | 'plain', number> = { cubes: 30, glass: 400, plain: 300 }
  #frame = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #closed = false
  #pending = false
  #moving = false
  #resting = false
  #start = 0

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas
    this.#renderer = Renderer.on(canvas)
    this.measured.card = this.#renderer !== null
    canvas.addEventListener('webglcontextlost', this.#lost)
    if (this.#renderer)
      this.#renderer.onrestored = () => {
        this.#pending = false
        this.onlost(false)
        this.#ask(false)
      }
  }

  /** Whether the graphics card draws. */
  get card(): boolean {
    return this.#renderer !== null
  }

  /** What is shown from now on; `moving` where more of it will come soon. */
  show(drawn: Drawn, look: Look, size: number, moving: boolean): void {
    this.#drawn = drawn
    this.#look = look
    this.#size = size
    this.#ask(moving)
  }

  /** Draws at once at full size: for a picture to keep, which is to be read in the same turn. */
  full(): HTMLCanvasElement {
    this.#draw(Math.max(2, devicePixelRatio || 1))
    return this.#canvas
  }

  close(): void {
    this.#closed = true
    cancelAnimationFrame(this.#frame)
    clearTimeout(this.#timer)
    this.#canvas.removeEventListener('webglcontextlost', this.#lost)
    this.#renderer?.close()
    this.#drawn = this.#look = null
  }

  get #kind(): 'cubes' | 'glass' | 'plain' {
    return !this.#renderer ? 'plain' : this.#look?.glass ? 'glass' : 'cubes'
  }

  /** Draws soon, coarser while more is to come, and once more as well as it can when nothing came for a while. */
  #ask(moving: boolean): void {
    if (this.#closed) return
    clearTimeout(this.#timer)
    if (!moving) this.#timer = setTimeout(() => this.#next(false), RESTS_AFTER_MS)
    this.#next(true)
  }

  #next(moving: boolean): void {
    if (this.#closed) return
    this.#moving = moving
    // One that is waiting is not put off: what comes with every frame would put it off for ever.
    if (this.#frame) return
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0
      // The picture before is still being drawn: no queue of pictures that nobody will see.
      if (this.#pending && performance.now() - this.#start < 2000) return this.#next(this.#moving)
      const quality = this.#quality(this.#moving)
      this.#resting = !this.#moving
      this.#draw(quality)
    })
  }

  #quality(moving: boolean): number {
    const ratio = devicePixelRatio || 1
    const kind = this.#kind
    // The time goes with the number of pixels: the square of the side.
    const side = (budget: number, most: number, least: number) =>
      Math.max(least, Math.min(most, Math.sqrt(budget / this.#cost[kind])))
    return moving ? side(MOVING_MS[kind], ratio, LEAST[kind]) : side(RESTING_MS, Math.max(2, ratio), RESTING[kind])
  }

  #draw(quality: number): void {
    const [drawn, look, size] = [this.#drawn, this.#look, this.#size]
    if (!drawn || !look || size < 2) return
    const side = Math.max(2, Math.round(size * quality))
    if (this.#canvas.width !== side || this.#canvas.height !== side) this.#canvas.width = this.#canvas.height = side
    this.#start = performance.now()
    if (this.#renderer) {
      if (!this.#renderer.draw(look)) return
      this.#pending = true
      setTimeout(() => this.#await(quality), 1)
    } else {
      this.#plain(drawn, look, side)
      this.#done(quality)
    }
  }

  #await(quality: number): void {
    if (this.#closed || !this.#pending) return
    if (this.#renderer!.finished) this.#done(quality)
    else setTimeout(() => this.#await(quality), 1)
  }

  #done(quality: number): void {
    this.#pending = false
    const ms = performance.now() - this.#start
    const { frames } = this.measured
    const kind = this.#kind
    // The first picture also pays for programs and for what is sent to the card.
    if (frames > 0) this.#cost[kind] = 0.5 * this.#cost[kind] + 0.5 * Math.max(0.5, ms / quality ** 2)
    Object.assign(this.measured, { frames: frames + 1, ms, quality })
    // It was quicker than thought: a finer one.
    if (this.#resting && frames < 50 && this.#quality(false) > quality * 1.3) this.#next(false)
  }

  #plain(drawn: Drawn, look: Look, side: number): void {
    const g = this.#canvas.getContext('2d')
    if (!g) return
    const image = g.createImageData(side, side)
    const { pose } = look
    drawCubes(new Uint32Array(image.data.buffer), side, side, drawn.pixels, drawn.sides, turnOf(pose), pose.zoom)
    g.putImageData(image, 0, 0)
  }

  /** Sends a block to the card when it is drawn next. */
  block(drawn: Drawn): void {
    this.#renderer?.show(drawn)
  }
}
