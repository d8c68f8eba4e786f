import { describe, expect, test, vi } from 'vitest'
import { flushSync } from 'svelte'
import { address, formatHash, parseHash } from './address.svelte'

describe('the address', () => {
  test('reads page and parameters', () => {
    const { page, params } = parseHash('#/weights?run=iris/2026&step=120')
    expect(page).toBe('weights')
    expect([...params]).toEqual([
      ['run', 'iris/2026'],
      ['step', '120'],
    ])
  })
  test('nothing is the first page', () => {
    for (const hash of ['', '#', '#/', '#/?step=1']) expect(parseHash(hash).page).toBe('runs')
  })
  test('what is written is read back, whatever stands in it', () => {
    const params = new Map([
      ['find', 'lr>0.01 and "a b" & c=d#e%+'],
      ['run', 'zażółć/重み'],
      ['show', 'a/1,b/2'],
    ])
    const hash = formatHash({ page: 'metrics', params })
    expect(hash).toContain('show=a/1,b/2')
    expect(parseHash(hash)).toEqual({ page: 'metrics', params })
  })
  test('the same state has one spelling', () => {
    const a = formatHash({
      page: 'p',
      params: new Map([
        ['b', '1'],
        ['a', '2'],
      ]),
    })
    expect(a).toBe(
      formatHash({
        page: 'p',
        params: new Map([
          ['a', '2'],
          ['b', '1'],
        ]),
      }),
    )
  })
})

describe('who is woken', () => {
  test('setting one parameter wakes nobody who reads another, set or not', () => {
    // The browser's address is written later; here there is none.
    vi.useFakeTimers()
    let [steps, finds] = [0, 0]
    const stop = $effect.root(() => {
      $effect(() => {
        void address.get('step')
        steps++
      })
      $effect(() => {
        void address.get('find')
        finds++
      })
    })
    flushSync()
    for (const step of ['1', '2', '3']) {
      address.set('step', step)
      flushSync()
    }
    expect([steps, finds]).toEqual([4, 1])
    address.set('find', 'x')
    flushSync()
    expect([steps, finds]).toEqual([4, 2])
    stop()
    vi.useRealTimers()
  })
})
