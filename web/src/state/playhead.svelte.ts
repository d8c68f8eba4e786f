/**
 * The one playhead: the step that every panel of every page shows.
 *
 * The address holds it (`step=120`); without one it is at the newest step, and follows a run that is training.
 * `playhead.step` is a signal: a canvas reads it in an effect and draws, nothing else needs to be made anew.
 */
import { address } from './address.svelte'
import { catalogue } from './catalogue.svelte'
import { trained } from './machine'
import { selection } from './selection.svelte'
import { epochAt, playSeconds, stopFrom, timeOf, type RunTime } from './timeline'

export const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16] as const

class Playhead {
  /** The time of the current run. */
  readonly time: RunTime = $derived(timeOf(catalogue.detail(selection.current?.id)))

  /** Whether the current run has anything to show over time; null until that is known. */
  readonly recorded: boolean | null = $derived.by(() => {
    const detail = catalogue.detail(selection.current?.id)
    return detail ? detail.snapshots.length > 0 || trained(detail.row.metrics).length > 0 : null
  })

  /** The step where the user put it; null when it is at the newest one. */
  readonly #put: number | null = $derived.by(() => {
    const text = address.get('step')
    return text === '' || !Number.isFinite(Number(text)) ? null : Math.round(Number(text))
  })

  /** What is shown. */
  readonly step: number = $derived(
    this.#put === null ? this.time.last : Math.min(this.time.last, Math.max(this.time.first, this.#put)),
  )
  readonly epoch: number | null = $derived(epochAt(this.time, this.step))

  /** Pinned to the newest step. */
  readonly following: boolean = $derived(this.#put === null)

  playing = $state(false)

  readonly speed: number = $derived.by(() => {
    const speed = Number(address.get('speed', '1'))
    return (SPEEDS as readonly number[]).includes(speed) ? speed : 1
  })

  /** Steps between which play goes round, both included; null when it does not. */
  readonly loop: { from: number; to: number } | null = $derived.by(() => {
    const match = /^(-?\d+)-(-?\d+)$/.exec(address.get('loop'))
    if (!match) return null
    const [from, to] = [Number(match[1]), Number(match[2])]
    return to > from ? { from: Math.max(from, this.time.first), to: Math.min(to, this.time.last) } : null
  })

  #position = 0
  #before = 0

  /** Goes to a step; the user's hand, so it no longer follows. */
  seek(step: number): void {
    const { first, last } = this.time
    this.#position = Math.min(last, Math.max(first, step))
    address.set('step', String(Math.round(this.#position)))
  }

  /** Goes `by` stops: snapshots, or epochs where there are none. */
  move(by: number): void {
    this.seek(stopFrom(this.time, this.step, by))
  }

  home(): void {
    this.seek(this.loop?.from ?? this.time.first)
  }

  /** To the newest step, and stays there while the run goes on. */
  follow(): void {
    this.playing = false
    address.set('step', null)
  }

  toggle(): void {
    if (this.playing) this.pause()
    else this.play()
  }

  play(): void {
    const { first, last } = this.time
    if (this.playing || last <= first) return
    const from = this.loop?.from ?? first
    const to = this.loop?.to ?? last
    this.#position = this.step >= to || this.step < from ? from : this.step
    this.playing = true
    this.#before = performance.now()
    requestAnimationFrame((now) => this.#tick(now))
  }

  pause(): void {
    this.playing = false
  }

  setSpeed(speed: number): void {
    address.set('speed', String(speed), '1')
  }

  setLoop(loop: { from: number; to: number } | null): void {
    address.set('loop', loop && loop.to > loop.from ? `${Math.round(loop.from)}-${Math.round(loop.to)}` : null)
  }

  #tick(now: number): void {
    if (!this.playing) return
    const { first, last, running } = this.time
    const from = this.loop?.from ?? first
    const to = this.loop?.to ?? last
    // A tab that slept, or a slow frame, must not jump over half of the film.
    const seconds = Math.min(0.1, Math.max(0, now - this.#before) / 1000)
    this.#before = now
    this.#position += ((last - first) / playSeconds(this.time)) * this.speed * seconds
    if (this.#position >= to) {
      if (this.loop) this.#position = from
      else {
        if (running) this.follow()
        else {
          this.seek(to)
          this.playing = false
        }
        return
      }
    }
    address.set('step', String(Math.round(this.#position)))
    requestAnimationFrame((next) => this.#tick(next))
  }
}

export const playhead = new Playhead()
