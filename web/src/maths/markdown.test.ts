import { describe, expect, it } from 'vitest'
import { blocks, inlines, safeHref } from './markdown'

describe('blocks', () => {
  it('knows headings, lists, quotes, code, tables and rules', () => {
    const text =
      '# One\n\ntwo\nlines\n\n- a\n- b\n\n1. c\n\n> said\n\n```\n<b>\n```\n\n| x | y |\n|---|--:|\n| 1 | 2 |\n\n---'
    expect(blocks(text).map((b) => b.kind)).toEqual([
      'heading',
      'paragraph',
      'list',
      'list',
      'quote',
      'code',
      'table',
      'rule',
    ])
    expect(blocks(text)[5]).toEqual({ kind: 'code', text: '<b>' })
    expect(blocks(text)[6]).toMatchObject({ rows: [[[{ text: '1' }], [{ text: '2' }]]] })
  })

  it('ends with whatever text', () => {
    for (const text of ['', '\n\n', '```', '# ', '|', '> ', '*', '[', '**a', '- '.repeat(50)]) blocks(text)
  })
})

describe('inlines', () => {
  it('knows emphasis, code and links', () => {
    expect(inlines('a **b** *c* `d` ~~e~~ [f](https://g.h)')).toEqual([
      { kind: 'text', text: 'a ' },
      { kind: 'bold', text: 'b' },
      { kind: 'text', text: ' ' },
      { kind: 'italic', text: 'c' },
      { kind: 'text', text: ' ' },
      { kind: 'code', text: 'd' },
      { kind: 'text', text: ' ' },
      { kind: 'struck', text: 'e' },
      { kind: 'text', text: ' ' },
      { kind: 'link', text: 'f', href: 'https://g.h' },
    ])
  })

  it('leaves HTML and addresses that could run as text', () => {
    expect(inlines('<img src=x onerror=alert(1)>')).toEqual([{ kind: 'text', text: '<img src=x onerror=alert(1)>' }])
    for (const href of ['javascript:alert(1)', 'JaVaScRiPt:alert(1)', 'data:text/html,x', '//x.y', 'vbscript:x'])
      expect(safeHref(href)).toBe(false)
    expect(inlines('[a](javascript:alert(1))').every((i) => i.kind === 'text')).toBe(true)
  })
})
