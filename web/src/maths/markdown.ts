/**
 * Markdown to a tree of plain nodes, a small part of it: headings, paragraphs, lists, quotes, code, tables, emphasis and
 * links. HTML in the text stays text: what a training logged must never become elements of the page.
 */
export type Inline =
  { kind: 'text' | 'code' | 'bold' | 'italic' | 'struck'; text: string } | { kind: 'link'; text: string; href: string }

export type Block =
  | { kind: 'heading'; level: number; inline: Inline[] }
  | { kind: 'paragraph' | 'quote'; inline: Inline[] }
  | { kind: 'list'; ordered: boolean; items: Inline[][] }
  | { kind: 'code'; text: string }
  | { kind: 'table'; head: Inline[][]; rows: Inline[][][] }
  | { kind: 'rule' }

const INLINE = /(`+)(.+?)\1|\*\*(.+?)\*\*|__(.+?)__|~~(.+?)~~|\*([^*\s](?:.*?[^*\s])?)\*|\[([^\]]+)\]\(([^)\s]+)\)/

/** Only addresses that lead to another page: nothing that could run. */
export const safeHref = (href: string): boolean => /^(https?:\/\/|mailto:)/i.test(href)

export function inlines(text: string): Inline[] {
  const found: Inline[] = []
  let rest = text
  for (let match = INLINE.exec(rest); match; match = INLINE.exec(rest)) {
    if (match.index) found.push({ kind: 'text', text: rest.slice(0, match.index) })
    const [whole, , code, bold, under, struck, italic, label, href] = match
    if (code !== undefined) found.push({ kind: 'code', text: code })
    else if (bold !== undefined || under !== undefined) found.push({ kind: 'bold', text: bold ?? under! })
    else if (struck !== undefined) found.push({ kind: 'struck', text: struck })
    else if (italic !== undefined) found.push({ kind: 'italic', text: italic })
    else if (safeHref(href!)) found.push({ kind: 'link', text: label!, href: href! })
    else found.push({ kind: 'text', text: whole })
    rest = rest.slice(match.index + whole.length)
  }
  if (rest) found.push({ kind: 'text', text: rest })
  return found
}

const cells = (line: string): Inline[][] =>
  line
    .trim()
    .replace(/^\||\|$/g, '')
    .split('|')
    .map((cell) => inlines(cell.trim()))

const BULLET = /^\s*[-*+]\s+(.*)$/
const NUMBER = /^\s*\d+[.)]\s+(.*)$/
const RULER = /^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$/

export function blocks(text: string): Block[] {
  const lines = text.replace(/\r\n?/g, '\n').split('\n')
  const found: Block[] = []
  let at = 0
  const take = (fits: (line: string) => boolean): string[] => {
    const taken: string[] = []
    while (at < lines.length && fits(lines[at]!)) taken.push(lines[at++]!)
    return taken
  }
  while (at < lines.length) {
    const line = lines[at]!
    const heading = /^(#{1,6})\s+(.*)$/.exec(line)
    if (!line.trim()) at += 1
    else if (/^\s*```/.test(line)) {
      at += 1
      found.push({ kind: 'code', text: take((l) => !/^\s*```/.test(l)).join('\n') })
      at += 1
    } else if (heading) {
      found.push({ kind: 'heading', level: heading[1]!.length, inline: inlines(heading[2]!) })
      at += 1
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      found.push({ kind: 'rule' })
      at += 1
    } else if (line.includes('|') && at + 1 < lines.length && RULER.test(lines[at + 1]!)) {
      const head = cells(line)
      at += 2
      found.push({ kind: 'table', head, rows: take((l) => l.includes('|')).map(cells) })
    } else if (BULLET.test(line) || NUMBER.test(line)) {
      const form = BULLET.test(line) ? BULLET : NUMBER
      const items = take((l) => form.test(l)).map((l) => inlines(form.exec(l)![1]!))
      found.push({ kind: 'list', ordered: form === NUMBER, items })
    } else if (/^\s*>/.test(line)) {
      const quoted = take((l) => /^\s*>/.test(l)).map((l) => l.replace(/^\s*>\s?/, ''))
      found.push({ kind: 'quote', inline: inlines(quoted.join(' ')) })
    } else {
      const plain = [lines[at++]!, ...take((l) => !!l.trim() && !/^(#{1,6}\s|\s*```|\s*>|\s*[-*+]\s)/.test(l))]
      found.push({ kind: 'paragraph', inline: inlines(plain.join(' ')) })
    }
  }
  return found
}
