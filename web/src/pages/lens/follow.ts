/** One question to the lens, from the asking to its end. */
import { source } from '../../source/source'
import type { LensJob } from '../../wire/types'

const POLL_MS = [60, 100, 150, 250]

export interface Question {
  run: string
  body: Parameters<ReturnType<typeof source>['look']>[1]
}

/** Puts a question, and tells how it stands until it has ended; null where nobody waits for it any more. */
export async function follow(
  question: Question,
  gone: () => boolean,
  heard: (job: LensJob) => unknown,
): Promise<LensJob | null> {
  let job: LensJob = await source().look(question.run, question.body)
  const forget = () =>
    void source()
      .stopLooking(job.id)
      .catch(() => null)
  let version = -1
  for (let tick = 0; ; tick += 1) {
    if (gone()) {
      forget()
      return null
    }
    if (job.version !== version || job.state === 'waiting') {
      version = job.version
      await heard(job)
    }
    if (job.state === 'done' || job.state === 'failed' || job.state === 'cancelled') return job
    await new Promise((done) => setTimeout(done, POLL_MS[Math.min(tick, POLL_MS.length - 1)]))
    if (!gone()) job = await source().looked(job.id)
  }
}
