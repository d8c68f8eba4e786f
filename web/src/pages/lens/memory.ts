/** What was found last, up to a number of bytes. */
export class Memory<T> {
  readonly #held = new Map<string, T>()
  #bytes = 0
  constructor(
    readonly size: (one: T) => number,
    readonly most = 160 << 20,
  ) {}
  has = (key: string) => this.#held.has(key)
  get = (key: string) => this.#held.get(key)
  keep(key: string, value: T): void {
    this.#forget(key)
    this.#held.set(key, value)
    this.#bytes += this.size(value)
    for (const old of this.#held.keys()) {
      if (this.#bytes <= this.most || old === key) break
      this.#forget(old)
    }
  }
  #forget(key: string): void {
    const held = this.#held.get(key)
    if (held === undefined) return
    this.#bytes -= this.size(held)
    this.#held.delete(key)
  }
}
