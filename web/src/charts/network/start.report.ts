/** As `start.ts`, for a page in one file: the worker's program is in the page. */
import LayoutWorker from './worker?worker&inline'

export function startWorker(): Worker {
  return new LayoutWorker({ name: 'epochal-layout' })
}
