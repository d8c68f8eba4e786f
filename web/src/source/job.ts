/** A job of the process that looks into networks, from the asking to its end. */
import type { LensJob } from '../wire/types'
import { source } from './source'

const POLL_MS = [60, 100, 150, 250]
const ENDED: ReadonlySet<LensJob['state']> = new Set(['done', 'failed', 'cancelled'])

/** Asks, and tells how the job stands until it has ended; stops it, and gives null, where nobody waits any more. */
export async function followed(
  ask: () => Promise<LensJob>,
  gone: () => boolean,
  heard: (job: LensJob) => unknown,
): Promise<LensJob | null> {
  let job = await ask()
  let version = -1
  for (let tick = 0; ; tick += 1) {
    if (gone()) {
      void source()
        .stopLooking(job.id)
        .catch(() => null)
      return null
    }
    if (job.version !== version || job.state === 'waiting') {
      version = job.version
      await heard(job)
    }
    if (ENDED.has(job.state)) return job
    await new Promise((done) => setTimeout(done, POLL_MS[Math.min(tick, POLL_MS.length - 1)]))
    if (!gone()) job = await source().looked(job.id)
  }
}
