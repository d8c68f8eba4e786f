import { expect, test } from 'vitest'
import { attentionPython, fromOf, inputOf, writtenTokens } from './attended'

const nothing = { series: [], samples: [], picture: false, tokens: '' as const }

test('an input comes from where it was asked, or from what there is', () => {
  expect(fromOf({ ...nothing, series: ['predictions'] }, '')).toBe('example')
  expect(fromOf({ ...nothing, samples: ['chelsea'], picture: true }, 'example')).toBe('photo')
  expect(fromOf({ ...nothing, samples: ['chelsea'], picture: true }, 'picture')).toBe('picture')
  expect(fromOf({ ...nothing, tokens: 'words' }, 'photo')).toBe('text')
})

test('what is not chosen yet names no input', () => {
  const chosen = { example: 3, photo: 'coffee', picture: 'no hash', text: '' }
  expect(inputOf('example', chosen)).toEqual({ example: 3 })
  expect(inputOf('photo', chosen)).toEqual({ photo: 'coffee' })
  expect(inputOf('picture', chosen)).toBeNull()
  expect(inputOf('picture', { ...chosen, picture: '0'.repeat(32) })).toEqual({ picture: '0'.repeat(32) })
  expect(inputOf('text', chosen)).toBeNull()
})

test('letters are written as they stand in a text, words with spaces between', () => {
  expect(writtenTokens(['t', 'h', 'e', '▁', 'c', '↵'], 'letters')).toBe('the c\n')
  expect(writtenTokens(['▁the', 'cat'], 'words')).toBe('▁the cat')
  expect(writtenTokens(['7', '16'], 'numbers')).toBe('7 16')
})

test('Python looks at the same input', () => {
  expect(attentionPython({ example: 2, series: 'other' }, 5, true)).toContain(
    'network = run.network(5)\nimage = run.predictions(name="other").given[2].transpose(2, 0, 1)\n',
  )
  expect(attentionPython({ photo: 'coffee' }, 5, true)).toContain('open_photo("coffee", network).array')
  expect(attentionPython({ text: 'a"b' }, 5, false)).toContain('# "a\\"b"')
})
