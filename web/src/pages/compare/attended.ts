/** What attention is looked at for, as the address tells it. Pure. */
import type { CompareDocument, CompareQuestion } from '../../wire/types'

export const FROM = ['example', 'photo', 'picture', 'text'] as const
export type From = (typeof FROM)[number]

type Inputs = Pick<CompareDocument, 'series' | 'samples' | 'picture' | 'tokens'>

/** Where the input comes from: what was asked for where it is there, else the first that is. */
export function fromOf(known: Inputs, asked: string): From {
  const there: Record<From, boolean> = {
    example: known.series.length > 0,
    photo: known.samples.length > 0,
    picture: known.picture,
    text: known.tokens !== '',
  }
  return FROM.find((one) => one === asked && there[one]) ?? FROM.find((one) => there[one]) ?? 'example'
}

/** What of a question names the input; null where nothing is chosen yet. */
export function inputOf(
  from: From,
  chosen: { example: number; photo: string; picture: string; text: string },
): Partial<CompareQuestion> | null {
  if (from === 'example') return { example: chosen.example }
  if (from === 'photo') return chosen.photo ? { photo: chosen.photo } : null
  if (from === 'picture') return /^[0-9a-f]{32}$/.test(chosen.picture) ? { picture: chosen.picture } : null
  return chosen.text ? { text: chosen.text } : null
}

/** Python that finds the same. `picture`: examples are pictures [H, W, C]; What was written has to be saved as numbers. */
export function attentionPython(asked: Partial<CompareQuestion>, step: number, picture: boolean): string {
  const lines = [`network = run.network(${step})`]
  if (typeof asked.example === 'number') {
    const series = asked.series && asked.series !== 'predictions' ? `name=${JSON.stringify(asked.series)}` : ''
    lines.push(`image = run.predictions(${series}).given[${asked.example}]${picture ? '.transpose(2, 0, 1)' : ''}`)
  } else if (typeof asked.text === 'string')
    lines.push(`image = numpy.load("tokens.npy")  # ${JSON.stringify(asked.text)}`)
  else
    lines.push(`image = epochal.lens.open_photo(${JSON.stringify(asked.photo ?? 'your-picture.png')}, network).array`)
  lines.push('found = epochal.lens.attention(network, image)', 'found.save("attention.png")')
  return lines.join('\n') + '\n'
}

/** Tokens as one writes them: letters stand together with their spaces, words and numbers have one between them. */
export function writtenTokens(tokens: readonly string[], kind: CompareDocument['tokens']): string {
  if (kind !== 'letters') return tokens.join(' ')
  const plain: Record<string, string> = { '▁': ' ', '↵': '\n', '⇥': '\t' }
  return tokens.map((one) => plain[one] ?? one).join('')
}
