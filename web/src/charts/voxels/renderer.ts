/** Draws blocks with WebGL2: opaque cubes, or glass. Holds one context, survives its loss, and gives everything back. */
import type { Rgb } from '../../maths/colour'
import { meshOf, triangles } from './mesh'
import { brightness, FACES, pixelsOf, turnOf, type Pose, type Sides } from './pose'
import { edgeOf } from './rays'
import { CUBES, GLASS, LINES } from './shaders'

export interface Drawn {
  sides: Sides
  /** Each voxel's colour, 0 where there is nothing. */
  pixels: Uint32Array<ArrayBuffer>
}

export interface Look {
  pose: Pose
  glass: boolean
  /** How quickly glass hides what is behind it. */
  density: number
  /** Where slices are cut: depth, row, column; null draws none. */
  cut: readonly [number, number, number] | null
  box: Rgb
  mark: Rgb
}

interface Program {
  program: WebGLProgram
  at: (name: string) => WebGLUniformLocation | null
}

interface Held {
  cubes: Program
  lines: Program
  glass: Program
  vertices: WebGLBuffer
  order: WebGLBuffer
  marks: WebGLBuffer
  cubesArray: WebGLVertexArrayObject
  linesArray: WebGLVertexArrayObject
  empty: WebGLVertexArrayObject
  block: WebGLTexture
}

export class Renderer {
  readonly canvas: HTMLCanvasElement
  /** Called when the context has come back and everything is to be drawn again. */
  onrestored: () => void = () => {}
  readonly #gl: WebGL2RenderingContext
  #held: Held | null = null
  #drawn: Drawn | null = null
  #meshOf: Drawn | null = null
  #counts: readonly number[] | null = null
  #sidesInOrder = 0
  #fence: WebGLSync | null = null
  #textureOf: Drawn | null = null
  readonly #lost = (event: Event) => {
    event.preventDefault()
    this.#forget()
  }
  readonly #restored = () => {
    this.#held = this.#make()
    this.onrestored()
  }

  private constructor(canvas: HTMLCanvasElement, gl: WebGL2RenderingContext) {
    this.canvas = canvas
    this.#gl = gl
    canvas.addEventListener('webglcontextlost', this.#lost)
    canvas.addEventListener('webglcontextrestored', this.#restored)
    this.#held = this.#make()
  }

  /** A renderer on a canvas; null where the browser has no WebGL2, or no more of it. */
  static on(canvas: HTMLCanvasElement): Renderer | null {
    let gl: WebGL2RenderingContext | null = null
    try {
      gl = canvas.getContext('webgl2', { alpha: true, antialias: false, depth: true, premultipliedAlpha: true })
    } catch {
      return null // some browsers throw where it is switched off
    }
    if (!gl) return null
    const renderer = new Renderer(canvas, gl)
    if (renderer.#held || gl.isContextLost()) return renderer
    renderer.close()
    return null
  }

  /** What is drawn from now on. */
  show(drawn: Drawn): void {
    this.#drawn = drawn
  }

  /** Draws; false where it cannot now. */
  draw(look: Look): boolean {
    const [gl, held, drawn] = [this.#gl, this.#held, this.#drawn]
    if (!held || !drawn || gl.isContextLost()) return false
    const { width, height } = this.canvas
    gl.viewport(0, 0, width, height)
    gl.clearColor(0, 0, 0, 0)
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT)
    const rays = look.glass || !this.#upload(held, drawn)
    // Where cubes are drawn ray by ray nothing has a depth: the box goes behind them.
    if (!rays) this.#drawCubes(held, drawn, look)
    this.#drawLines(held, drawn, look, !rays)
    if (rays) this.#drawGlass(held, drawn, look)
    if (this.#fence) gl.deleteSync(this.#fence)
    this.#fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0)
    gl.flush()
    return true
  }

  /** Whether the card has finished the last picture; asked a little later, not in the same turn. */
  get finished(): boolean {
    const [gl, fence] = [this.#gl, this.#fence]
    if (!fence || gl.isContextLost()) return true
    if (gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED) return false
    gl.deleteSync(fence)
    this.#fence = null
    return true
  }

  /** Gives back all that it holds, the context too: a page may have only a few of them. */
  close(): void {
    this.canvas.removeEventListener('webglcontextlost', this.#lost)
    this.canvas.removeEventListener('webglcontextrestored', this.#restored)
    const [gl, held] = [this.#gl, this.#held]
    if (held) {
      for (const { program } of [held.cubes, held.lines, held.glass]) gl.deleteProgram(program)
      for (const buffer of [held.vertices, held.order, held.marks]) gl.deleteBuffer(buffer)
      for (const array of [held.cubesArray, held.linesArray, held.empty]) gl.deleteVertexArray(array)
      gl.deleteTexture(held.block)
    }
    this.#forget()
    this.#drawn = null
    gl.getExtension('WEBGL_lose_context')?.loseContext()
  }

  #forget(): void {
    this.#held = this.#meshOf = this.#textureOf = this.#counts = this.#fence = null
    this.#sidesInOrder = 0
  }

  #make(): Held | null {
    const gl = this.#gl
    const [cubes, lines, glass] = [this.#program(CUBES), this.#program(LINES), this.#program(GLASS)]
    if (!cubes || !lines || !glass) return null
    const held: Held = {
      cubes,
      lines,
      glass,
      vertices: gl.createBuffer(),
      order: gl.createBuffer(),
      marks: gl.createBuffer(),
      cubesArray: gl.createVertexArray(),
      linesArray: gl.createVertexArray(),
      empty: gl.createVertexArray(),
      block: gl.createTexture(),
    }
    gl.bindVertexArray(held.cubesArray)
    gl.bindBuffer(gl.ARRAY_BUFFER, held.vertices)
    gl.enableVertexAttribArray(0)
    gl.vertexAttribIPointer(0, 4, gl.UNSIGNED_BYTE, 8, 0)
    gl.enableVertexAttribArray(1)
    gl.vertexAttribPointer(1, 4, gl.UNSIGNED_BYTE, true, 8, 4)
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, held.order)
    gl.bindVertexArray(held.linesArray)
    gl.bindBuffer(gl.ARRAY_BUFFER, held.marks)
    gl.enableVertexAttribArray(0)
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 12, 0)
    gl.bindVertexArray(null)
    gl.bindTexture(gl.TEXTURE_3D, held.block)
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R])
      gl.texParameteri(gl.TEXTURE_3D, side, gl.CLAMP_TO_EDGE)
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MIN_FILTER, gl.NEAREST)
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MAG_FILTER, gl.NEAREST)
    return held
  }

  #program(source: { vertex: string; fragment: string }): Program | null {
    const gl = this.#gl
    const program = gl.createProgram()
    if (!program) return null
    for (const [kind, text] of [
      [gl.VERTEX_SHADER, source.vertex],
      [gl.FRAGMENT_SHADER, source.fragment],
    ] as const) {
      // prettier-ignore
      const shader = gl.createShader(kind)
      if (!shader) return null
      gl.shaderSource(shader, text)
      gl.compileShader(shader)
      gl.attachShader(program, shader)
      gl.deleteShader(shader) // it goes with the program
    }
    gl.linkProgram(program)
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null
    const known = new Map<string, WebGLUniformLocation | null>()
    return {
      program,
      at: (name) => {
        if (!known.has(name)) known.set(name, gl.getUniformLocation(program, name))
        return known.get(name) ?? null
      },
    }
  }

  /** Sends the cubes where they are new; false where they are too many for it. */
  #upload(held: Held, drawn: Drawn): boolean {
    if (this.#meshOf === drawn) return this.#counts !== null
    const gl = this.#gl
    const mesh = meshOf(drawn.pixels, drawn.sides)
    this.#meshOf = drawn
    this.#counts = mesh?.counts ?? null
    if (!mesh) return false
    gl.bindVertexArray(held.cubesArray)
    gl.bindBuffer(gl.ARRAY_BUFFER, held.vertices)
    gl.bufferData(gl.ARRAY_BUFFER, mesh.vertices, gl.DYNAMIC_DRAW)
    const most = Math.max(...mesh.counts)
    if (most > this.#sidesInOrder) {
      this.#sidesInOrder = Math.ceil(most * 1.25)
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, triangles(this.#sidesInOrder), gl.STATIC_DRAW)
    }
    return true
  }

  #use({ program, at }: Program, { sides }: Drawn, { pose }: Look): void {
    const gl = this.#gl
    const [d, h, w] = sides
    const { width, height } = this.canvas
    const pixels = pixelsOf(sides, pose.zoom, width, height)
    gl.useProgram(program)
    // Rows of the turn are columns in the memory of the card.
    const turn = turnOf(pose)
    gl.uniformMatrix3fv(at('turn'), false, [0, 1, 2].flatMap((a) => turn.map((row) => row[a]!))) // prettier-ignore
    gl.uniform3f(at('half_'), w / 2, h / 2, d / 2)
    gl.uniform2f(at('scale'), (2 * pixels) / width, (2 * pixels) / height)
    gl.uniform1f(at('deep'), Math.hypot(d, h, w))
  }

  #drawCubes(held: Held, drawn: Drawn, look: Look): void {
    const gl = this.#gl
    gl.enable(gl.DEPTH_TEST)
    gl.disable(gl.BLEND)
    this.#use(held.cubes, drawn, look)
    gl.uniform1f(held.cubes.at('edge'), edgeOf(pixelsOf(drawn.sides, look.pose.zoom, this.canvas.width, this.canvas.height))) // prettier-ignore
    gl.bindVertexArray(held.cubesArray)
    gl.bindBuffer(gl.ARRAY_BUFFER, held.vertices)
    const turn = turnOf(look.pose)
    let first = 0
    this.#counts!.forEach((count, face) => {
      const bright = brightness(FACES[face]!, turn)
      if (bright !== null && count) {
        gl.uniform1f(held.cubes.at('bright'), bright)
        // Each direction begins at its own vertex: the order of corners is the same for all.
        gl.vertexAttribIPointer(0, 4, gl.UNSIGNED_BYTE, 8, first * 32)
        gl.vertexAttribPointer(1, 4, gl.UNSIGNED_BYTE, true, 8, first * 32 + 4)
        gl.drawElements(gl.TRIANGLES, count * 6, gl.UNSIGNED_INT, 0)
      }
      first += count
    })
    gl.bindVertexArray(null)
  }

  #drawLines(held: Held, drawn: Drawn, look: Look, depth: boolean): void {
    const gl = this.#gl
    const [d, h, w] = drawn.sides
    const box: number[] = []
    for (const [p, q] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      // prettier-ignore
      box.push(0, p * h, q * d, w, p * h, q * d)
      box.push(p * w, 0, q * d, p * w, h, q * d)
      box.push(p * w, q * h, 0, p * w, q * h, d)
    }
    const cuts: number[] = []
    if (look.cut) {
      const [z, y, x] = look.cut.map((place) => place + 0.5) as [number, number, number]
      for (const [corners] of [
        [
          [
            [0, 0, z],
            [w, 0, z],
            [w, h, z],
            [0, h, z],
          ],
        ],
        [
          [
            [0, y, 0],
            [w, y, 0],
            [w, y, d],
            [0, y, d],
          ],
        ],
        [
          [
            [x, 0, 0],
            [x, h, 0],
            [x, h, d],
            [x, 0, d],
          ],
        ],
      ] as const)
        // prettier-ignore
        corners!.forEach((corner, k) => cuts.push(...corner, ...corners![(k + 1) % 4]!))
    }
    if (depth) gl.enable(gl.DEPTH_TEST)
    else gl.disable(gl.DEPTH_TEST)
    gl.depthFunc(gl.LEQUAL)
    this.#use(held.lines, drawn, look)
    gl.bindVertexArray(held.linesArray)
    gl.bindBuffer(gl.ARRAY_BUFFER, held.marks)
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([...box, ...cuts]), gl.DYNAMIC_DRAW)
    const colour = held.lines.at('colour')
    const put = ([r, g, b]: Rgb) => gl.uniform4f(colour, r / 255, g / 255, b / 255, 1)
    put(look.box)
    gl.drawArrays(gl.LINES, 0, box.length / 3)
    if (cuts.length) {
      put(look.mark)
      gl.drawArrays(gl.LINES, box.length / 3, cuts.length / 3)
    }
    gl.bindVertexArray(null)
  }

  #drawGlass(held: Held, drawn: Drawn, look: Look): void {
    const gl = this.#gl
    const [d, h, w] = drawn.sides
    gl.disable(gl.DEPTH_TEST)
    gl.enable(gl.BLEND)
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA)
    this.#use(held.glass, drawn, look)
    gl.activeTexture(gl.TEXTURE0)
    gl.bindTexture(gl.TEXTURE_3D, held.block)
    if (this.#textureOf !== drawn) {
      gl.pixelStorei(gl.UNPACK_ALIGNMENT, 4)
      const bytes = new Uint8Array(drawn.pixels.buffer, drawn.pixels.byteOffset, drawn.pixels.byteLength)
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.RGBA8, w, h, d, 0, gl.RGBA, gl.UNSIGNED_BYTE, bytes)
      this.#textureOf = drawn
    }
    gl.uniform1i(held.glass.at('block'), 0)
    gl.uniform1f(held.glass.at('density'), look.glass ? look.density : 0)
    const turn = turnOf(look.pose)
    const bright = (axis: number) => brightness(FACES[axis * 2]!, turn) ?? brightness(FACES[axis * 2 + 1]!, turn) ?? 1
    gl.uniform3f(held.glass.at('bright'), bright(0), bright(1), bright(2))
    gl.bindVertexArray(held.empty)
    gl.drawArrays(gl.TRIANGLES, 0, 3)
    gl.bindVertexArray(null)
    gl.disable(gl.BLEND)
  }
}
