import { expect, test } from 'vitest'
import { Memory } from './memory'

test('the oldest are forgotten when there are too many bytes, and never the newest', () => {
  const memory = new Memory<string>((one) => one.length, 10)
  memory.keep('a', 'xxxx')
  memory.keep('b', 'xxxx')
  memory.keep('a', 'yyyy')
  expect([memory.get('a'), memory.get('b')]).toEqual(['yyyy', 'xxxx'])
  memory.keep('c', 'xxx')
  expect(['a', 'b', 'c'].map(memory.has)).toEqual([true, false, true])
  memory.keep('d', 'x'.repeat(50))
  expect(['a', 'c', 'd'].map(memory.has)).toEqual([false, false, true])
})
