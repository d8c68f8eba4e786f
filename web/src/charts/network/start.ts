/** Starts the worker that lays out networks. A copy in one file has it inside (`start.report.ts`). */
export function startWorker(): Worker {
  return new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'epochal-layout' })
}
