/** The timeline's track: loss of the shown runs, ticks of the snapshots, labels of epochs or steps. Drawn rarely. */
import { formatQuick, formatTick } from '../state/format'
import { epochPosition, stepOfEpoch, type RunTime } from '../state/timeline'
import { niceTicks } from '../maths/ticks'
import type { Curve } from '../wire/columns'

/** Space left and right of the track, so that the playhead's knob is whole at both ends. */
export const EDGE = 16
export const LANE_TOP = 10
export const LANE_HEIGHT = 58

export interface TrackInk {
  lane: string
  line: string
  soft: string
  faint: string
  good: string
}

export interface TrackCurve {
  curve: Curve
  colour: string
  main: boolean
}

/** Where a step is, in CSS pixels. */
export function xOf(time: RunTime, width: number, step: number): number {
  const range = time.end - time.first
  return EDGE + (range > 0 ? (step - time.first) / range : 0) * (width - 2 * EDGE)
}

/** The step at a position; not rounded to a stop. */
export function stepOf(time: RunTime, width: number, x: number): number {
  const part = (x - EDGE) / Math.max(1, width - 2 * EDGE)
  return Math.round(time.first + Math.min(1, Math.max(0, part)) * (time.end - time.first))
}

/** Lowest and highest value that the lane shows: the outer hundredths are left out when they are far away. */
export function laneRange(curves: readonly Pick<Curve, 'v'>[]): [number, number] | null {
  const sample: number[] = []
  let low = Infinity
  let high = -Infinity
  for (const { v } of curves) {
    const every = Math.max(1, Math.floor(v.length / 500))
    for (let i = 0; i < v.length; i++) {
      const value = v[i]!
      if (!Number.isFinite(value)) continue
      if (value < low) low = value
      if (value > high) high = value
      if (i % every === 0) sample.push(value)
    }
  }
  if (sample.length === 0) return null
  sample.sort((a, b) => a - b)
  const core = sample[Math.round(0.98 * (sample.length - 1))]! - low
  return [low, core > 0 && high - low > 6 * core ? low + 1.3 * core : high]
}

export function drawTrack(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
  time: RunTime,
  curves: readonly TrackCurve[],
  ink: TrackInk,
  font: string,
): void {
  const pen = canvas.getContext('2d')
  if (!pen) return
  const ratio = canvas.width / width
  pen.setTransform(ratio, 0, 0, ratio, 0, 0)
  pen.clearRect(0, 0, width, height)
  const bottom = LANE_TOP + LANE_HEIGHT
  const x = (step: number) => xOf(time, width, step)
  pen.fillStyle = ink.lane
  pen.fillRect(EDGE, LANE_TOP, width - 2 * EDGE, LANE_HEIGHT)
  if (time.end <= time.first && curves.length === 0) return

  pen.save()
  pen.beginPath()
  pen.rect(EDGE - 1, LANE_TOP, width - 2 * EDGE + 2, LANE_HEIGHT)
  pen.clip()
  // The chosen run sets the scale: another one that diverged must not press it flat.
  const main = curves.filter((c) => c.main)
  const range = laneRange((main.length ? main : curves).map((c) => c.curve))
  if (range) {
    const [low, high] = range
    const y = (v: number) => bottom - 5 - ((v - low) / (high - low || 1)) * (LANE_HEIGHT - 10)
    // Others leave the lane where they are outside of its scale: held at its edge they would look like a plateau.
    for (const one of curves.filter((c) => !c.main)) drawCurve(pen, one, x, y, null)
    for (const one of main) drawCurve(pen, one, x, (v) => y(Math.min(high, v)), bottom)
  }
  pen.restore()

  if (time.running) {
    pen.fillStyle = ink.good
    pen.fillRect(Math.round(x(time.last)) - 1, LANE_TOP, 2, LANE_HEIGHT)
  }
  drawTicks(pen, time, width, bottom, ink, font)
}

function drawCurve(
  pen: CanvasRenderingContext2D,
  { curve, colour, main }: TrackCurve,
  x: (step: number) => number,
  y: (v: number) => number,
  ground: number | null,
): void {
  const { steps, v } = curve
  pen.strokeStyle = colour
  pen.lineWidth = main ? 1.5 : 1
  pen.lineJoin = 'round'
  pen.globalAlpha = main ? 1 : 0.4
  // Stretches between gaps: a value that is not finite breaks the line.
  let i = 0
  while (i < v.length) {
    while (i < v.length && !Number.isFinite(v[i])) i++
    const start = i
    const path = new Path2D()
    for (; i < v.length && Number.isFinite(v[i]); i++) {
      if (i === start) path.moveTo(x(steps[i]!), y(v[i]!))
      else path.lineTo(x(steps[i]!), y(v[i]!))
    }
    if (i === start) break
    if (ground !== null && i - start > 1) {
      const area = new Path2D(path)
      area.lineTo(x(steps[i - 1]!), ground)
      area.lineTo(x(steps[start]!), ground)
      area.closePath()
      pen.globalAlpha = 0.14
      pen.fillStyle = colour
      pen.fill(area)
      pen.globalAlpha = 1
    }
    pen.stroke(path)
  }
  pen.globalAlpha = 1
}

function drawTicks(
  pen: CanvasRenderingContext2D,
  time: RunTime,
  width: number,
  bottom: number,
  ink: TrackInk,
  font: string,
): void {
  const x = (step: number) => xOf(time, width, step)
  // Stops as fine ticks; where they would touch, only each n-th.
  const { stops } = time
  const room = width - 2 * EDGE
  const shown = stops.filter((s) => s >= time.first && s <= time.end)
  const every = Math.max(1, Math.ceil((shown.length * 3) / room))
  pen.fillStyle = ink.faint
  for (let i = 0; i < shown.length; i += every) pen.fillRect(Math.round(x(shown[i]!)), bottom + 3, 1, 4)

  pen.font = font
  pen.fillStyle = ink.soft
  pen.textBaseline = 'top'
  const inEpochs = time.epochSteps.length > 1
  const marks = inEpochs ? epochMarks(time, room) : stepMarks(time, room)
  let free = -Infinity
  for (const { step, label } of marks) {
    const at = x(step)
    const half = pen.measureText(label).width / 2
    const left = Math.min(width - 2 - 2 * half, Math.max(2, at - half))
    if (left < free) continue
    pen.fillStyle = ink.soft
    pen.fillRect(Math.round(at), bottom + 3, 1, 7)
    pen.fillText(label, left, bottom + 13)
    free = left + 2 * half + 12
  }
}

interface Mark {
  step: number
  label: string
}

function stepMarks(time: RunTime, room: number): Mark[] {
  return niceTicks(time.first, time.end, Math.max(2, room / 110))
    .filter(Number.isInteger)
    .map((step) => ({ step, label: formatTick(step) }))
}

function epochMarks(time: RunTime, room: number): Mark[] {
  const [low, high] = [epochPosition(time, time.first), epochPosition(time, time.end)]
  const span = high - low
  if (!(span > 0)) return []
  const whole = span > 4
  return niceTicks(Math.max(0, low), high, Math.max(2, room / 90))
    .filter((e) => !whole || Number.isInteger(e))
    .map((epoch) => ({ step: stepOfEpoch(time, epoch), label: formatQuick(epoch) }))
}
