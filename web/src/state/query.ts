/**
 * The small language that finds runs, as `views/query.py` and `views/runs.py` have it:
 * `iris lr>0.01 and (val_loss<0.3 or tag:best) and not status=crashed`.
 */
import type { MetricDocument, RunRow } from '../wire/types'

type Test = (run: RunRow) => boolean

interface Token {
  kind: 'text' | 'operator' | 'bracket' | 'word' | 'keyword' | 'end'
  text: string
}

export interface Matcher {
  test: Test
  /** Why the text cannot be read, if so; everything fits then, as it may be half typed. */
  problem: string | null
}

const TOKEN = /\s*(?:("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(<=|>=|!=|==|[<>=:~])|([()])|([^\s()<>=!:~"']+))/y

class QueryError extends Error {}

export function matcher(text: string): Matcher {
  try {
    return { test: new Parser(split(text)).parse(), problem: null }
  } catch (error) {
    if (error instanceof QueryError) return { test: () => true, problem: error.message }
    throw error
  }
}

function split(text: string): Token[] {
  const tokens: Token[] = []
  const end = text.trimEnd().length
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < end) {
    const at = TOKEN.lastIndex
    const match = TOKEN.exec(text)
    if (!match)
      throw new QueryError(
        /["']/.test(text.slice(at).trimStart()[0]!) ? 'a quotation never ends' : 'this cannot be read',
      )
    const [, quoted, operator, bracket, word] = match
    if (quoted !== undefined) tokens.push({ kind: 'text', text: quoted.slice(1, -1).replace(/\\(.)/g, '$1') })
    else if (operator !== undefined) tokens.push({ kind: 'operator', text: operator })
    else if (bracket !== undefined) tokens.push({ kind: 'bracket', text: bracket })
    else if (/^(and|or|not)$/i.test(word!)) tokens.push({ kind: 'keyword', text: word!.toLowerCase() })
    else tokens.push({ kind: 'word', text: word! })
  }
  return [...tokens, { kind: 'end', text: '' }]
}

/** One function for each line of the grammar. */
class Parser {
  #at = 0
  readonly #tokens: Token[]

  constructor(tokens: Token[]) {
    this.#tokens = tokens
  }

  parse(): Test {
    if (this.#now().kind === 'end') return () => true
    const test = this.#either()
    if (this.#now().kind !== 'end') throw new QueryError(`‘${this.#now().text}’ was not expected here`)
    return test
  }

  #now(): Token {
    return this.#tokens[this.#at]!
  }

  #take(kind: Token['kind'], text: string): boolean {
    if (this.#now().kind !== kind || this.#now().text !== text) return false
    this.#at++
    return true
  }

  #either(): Test {
    const parts = [this.#both()]
    while (this.#take('keyword', 'or')) parts.push(this.#both())
    return parts.length === 1 ? parts[0]! : (run) => parts.some((p) => p(run))
  }

  #both(): Test {
    const parts = [this.#one()]
    for (;;) {
      const { kind, text } = this.#now()
      if (!this.#take('keyword', 'and') && kind !== 'word' && kind !== 'text' && text !== '(' && text !== 'not') {
        return parts.length === 1 ? parts[0]! : (run) => parts.every((p) => p(run))
      }
      parts.push(this.#one())
    }
  }

  #one(): Test {
    if (this.#take('keyword', 'not')) {
      const inner = this.#one()
      return (run) => !inner(run)
    }
    if (this.#take('bracket', '(')) {
      const inner = this.#either()
      if (!this.#take('bracket', ')')) throw new QueryError('a ) is missing')
      return inner
    }
    const word = this.#value('a word or a comparison is missing')
    if (this.#now().kind !== 'operator') return mentions(word)
    const written = this.#tokens[this.#at++]!.text
    const operator = { '==': '=', '~': ':' }[written] ?? written
    const value = this.#value(`a value is missing after ${written}`)
    return (run) => {
      const found = field(run, word)
      return found === undefined || found === null ? operator === '!=' : compare(found, operator, value)
    }
  }

  #value(missing: string): string {
    if (this.#now().kind !== 'word' && this.#now().kind !== 'text') throw new QueryError(missing)
    return this.#tokens[this.#at++]!.text
  }
}

function mentions(text: string): Test {
  const wanted = text.toLowerCase()
  return (run) =>
    run.name.toLowerCase().includes(wanted) ||
    run.id.toLowerCase().includes(wanted) ||
    (run.group ?? '').toLowerCase().includes(wanted) ||
    run.tags.some((t) => t.toLowerCase().includes(wanted))
}

const FIELDS: Record<string, (run: RunRow) => unknown> = {
  name: (r) => r.name,
  id: (r) => r.run_id,
  project: (r) => r.project,
  group: (r) => r.group,
  parent: (r) => r.parent,
  status: (r) => r.status,
  tag: (r) => r.tags,
  tags: (r) => r.tags,
  notes: (r) => r.notes,
  archived: (r) => r.archived,
  step: (r) => r.last_step,
  epoch: (r) => r.last_epoch,
  seconds: (r) => r.seconds,
  created: (r) => r.created,
  ended: (r) => r.ended,
}

/** The best value of a metric by what it says is better; the least where it does not say. */
export const bestOf = (m: MetricDocument): number | null => (m.better === 'max' ? m.max : m.min)

const OF_METRIC: Record<string, (m: MetricDocument) => number | null> = {
  last: (m) => m.last,
  min: (m) => m.min,
  max: (m) => m.max,
  best: bestOf,
  mean: (m) => m.mean,
}

/** What a name of a query, or of a column, means for a run; undefined when the run has no such thing. */
export function field(run: RunRow, name: string): unknown {
  const own = FIELDS[name]
  if (own) return own(run)
  const dot = name.indexOf('.')
  if (dot > 0) {
    const [kind, rest] = [name.slice(0, dot), name.slice(dot + 1)]
    if (kind === 'config') return run.config[rest] ?? run.config[rest.replaceAll('.', '/')]
    const metric = run.metrics[rest]
    if (OF_METRIC[kind] && metric) return OF_METRIC[kind](metric)
  }
  if (name in run.config) return run.config[name]
  if (run.metrics[name]) return run.metrics[name].last
  return run.config[name.replaceAll('.', '/')]
}

function compare(found: unknown, operator: string, value: string): boolean {
  if (Array.isArray(found)) {
    const same = found.some((item) => compare(item, '=', value))
    return operator === '!=' ? !same : same && (operator === '=' || operator === ':')
  }
  if (operator === ':') return String(found).toLowerCase().includes(value.toLowerCase())
  const [left, right] = [number(found), number(value)]
  if (left !== null && right !== null) {
    switch (operator) {
      case '=':
        return left === right
      case '!=':
        return left !== right
      case '<':
        return left < right
      case '<=':
        return left <= right
      case '>':
        return left > right
      default:
        return left >= right
    }
  }
  const equal = String(found).toLowerCase() === value.toLowerCase()
  return operator === '=' ? equal : operator === '!=' && !equal
}

function number(value: unknown): number | null {
  if (typeof value === 'number') return value
  if (typeof value !== 'string' || value.trim() === '') return null
  const direct = Number(value)
  if (!Number.isNaN(direct)) return direct
  if (!/^\d{4}-\d\d-\d\d/.test(value)) return null
  // Without a time zone a date is UTC, as in Python.
  const moment = Date.parse(/[zZ]|[+-]\d\d:?\d\d$/.test(value) || value.length === 10 ? value : `${value}Z`)
  return Number.isNaN(moment) ? null : moment / 1000
}
