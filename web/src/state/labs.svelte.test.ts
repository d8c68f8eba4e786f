import { beforeEach, describe, expect, test } from 'vitest'
import { chooseSource, Source } from '../source/source'
import type { LabRow } from '../wire/types'
import { Labs } from './labs.svelte'

const encoder = new TextEncoder()
let asked: string[] = []
let broken = false

beforeEach(() => {
  asked = []
  broken = false
  chooseSource(
    new Source({
      live: true,
      get(path) {
        asked.push(path)
        if (broken) return Promise.reject(new Error('gone'))
        const rows = [{ id: 'p/new' }, { id: 'p/old' }] as LabRow[]
        const answer = path.endsWith('/labs') ? { labs: rows } : { lab: path }
        return Promise.resolve(encoder.encode(JSON.stringify(answer)).buffer)
      },
      send: () => Promise.reject(new Error('not here')),
      address: () => null,
      listen: () => () => {},
    }),
  )
})

describe('labs', () => {
  test('the newest lab is asked for once, with the list', async () => {
    const labs = new Labs()
    const loaded = labs.load() // as the page does
    await Promise.all([labs.start(), loaded])
    const whole = await labs.document('p/new')
    expect(labs.list).toHaveLength(2)
    expect(asked).toEqual(['/api/v1/labs', '/api/v1/labs/p/new'])
    await labs.document('p/new')
    expect(asked).toHaveLength(3)
    expect(whole).toBeTruthy()
  })
  test('another lab than the one brought ahead is asked for', async () => {
    const labs = new Labs()
    await labs.start()
    await labs.document('p/old')
    expect(asked.at(-1)).toBe('/api/v1/labs/p/old')
  })
  test('a server that fails is told of, and asked again', async () => {
    const labs = new Labs()
    broken = true
    await labs.start()
    expect(labs.problem).toBe('gone')
    broken = false
    await labs.load()
    expect(labs.problem).toBeNull()
    expect(labs.list).toHaveLength(2)
  })
})
