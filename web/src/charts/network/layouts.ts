/** Asks for layouts: in a worker, and where the browser refuses one, here. */
import type { Layout } from './layout'
import type { Scene } from './scene'
import { startWorker } from './start'

type Answer = { id: number; layout: Layout } | { id: number; problem: string }

let worker: Worker | null = null
let refused = false
let count = 0
const waiting = new Map<number, { scene: Scene; done: (layout: Layout) => void; fail: (error: Error) => void }>()

/** Where everything of a scene stands. */
export function askLayout(scene: Scene): Promise<Layout> {
  return new Promise((done, fail) => {
    const id = ++count
    waiting.set(id, { scene, done, fail })
    if (!refused && !worker) begin()
    if (worker) worker.postMessage({ id, scene })
    else void here(id)
  })
}

function begin(): void {
  try {
    worker = startWorker()
  } catch {
    refused = true
    return
  }
  worker.onmessage = ({ data }: MessageEvent<Answer>) => {
    const asked = waiting.get(data.id)
    waiting.delete(data.id)
    if ('layout' in data) asked?.done(data.layout)
    else asked?.fail(new Error(data.problem))
  }
  // A page from disk may forbid workers only once one is started: all that waits is then done here.
  worker.onerror = (event) => {
    event.preventDefault()
    worker?.terminate()
    worker = null
    refused = true
    for (const id of [...waiting.keys()]) void here(id)
  }
}

async function here(id: number): Promise<void> {
  const asked = waiting.get(id)
  waiting.delete(id)
  if (!asked) return
  try {
    const { layOut } = await import('./layout')
    asked.done(layOut(asked.scene))
  } catch (error) {
    asked.fail(error instanceof Error ? error : new Error(String(error)))
  }
}
