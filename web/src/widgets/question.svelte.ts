/** Asks a network, one question at a time: what changed meanwhile is asked next, so that drawing and playing never pile up. */
import type { AnswerDocument } from '../wire/types'

export class Question {
  answer = $state.raw<AnswerDocument | null>(null)
  problem = $state('')
  #busy = false
  #next: (() => Promise<AnswerDocument>) | null = null

  /** Asks, or, where an answer is still awaited, asks after it. */
  ask(send: () => Promise<AnswerDocument>): void {
    if (this.#busy) this.#next = send
    else void this.#send(send)
  }

  /** Nothing is asked any more. */
  clear(): void {
    this.answer = null
    this.#next = null
  }

  async #send(send: () => Promise<AnswerDocument>): Promise<void> {
    this.#busy = true
    try {
      this.answer = await send()
      this.problem = ''
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error)
    }
    this.#busy = false
    const again = this.#next
    this.#next = null
    if (again) void this.#send(again)
  }
}
