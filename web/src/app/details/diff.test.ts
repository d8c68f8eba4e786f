import { expect, test } from 'vitest'
import { diffLines } from './diff'

test('each line of a diff is what it is, also where code looks like a head', () => {
  const diff = [
    'diff --git a/train.py b/train.py',
    '--- a/train.py',
    '+++ b/train.py',
    '@@ -1,3 +1,3 @@',
    ' same',
    '--- a comment that went',
    '+++ a comment that came',
    ' end',
    '\\ No newline at end of file',
    'diff --git a/b b/b',
    '@@ -4 +4,0 @@ def f():',
    '-gone',
    '',
  ].join('\n')
  expect(diffLines(diff).map((line) => line.kind)).toEqual([
    'file',
    'file',
    'file',
    'place',
    'same',
    'less',
    'more',
    'same',
    'same',
    'file',
    'place',
    'less',
  ])
  expect(diffLines('')).toEqual([])
})
