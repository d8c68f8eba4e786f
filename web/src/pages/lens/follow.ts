/** One question to the lens, from the asking to its end. */
import { followed } from '../../source/job'
import { source } from '../../source/source'
import type { LensJob } from '../../wire/types'

export interface Question {
  run: string
  body: Parameters<ReturnType<typeof source>['look']>[1]
}

/** Puts a question, and tells how it stands until it has ended; null where nobody waits for it any more. */
export const follow = (
  { run, body }: Question,
  gone: () => boolean,
  heard: (job: LensJob) => unknown,
): Promise<LensJob | null> => followed(() => source().look(run, body), gone, heard)
