import { describe, expect, test } from 'vitest'
import golden from '../../../tests/data/wire_paths.json'
import { pathOf, restorePath, type Parameters, type Question } from './paths'

describe('addresses', () => {
  test.each(golden.map((g) => [g.path, g] as const))('%s', (path, { what, run, parameters, version }) => {
    expect(pathOf(what as Question, run, parameters as Parameters, version)).toBe(path)
  })

  test('a parameter at its default, or null, is left out', () => {
    const path = '/api/v1/runs/p/r/frames?series=param%2Fw'
    expect(pathOf('frames', 'p/r', { series: 'param/w', mode: 'value', start: null, end: undefined })).toBe(path)
  })

  test('restoring is below the run', () => expect(restorePath('p/r 1')).toBe('/api/v1/runs/p/r%201/restore'))
})
