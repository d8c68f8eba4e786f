/** Everything that the Lab page shows, as files of one archive. */
import type { ChartActions } from '../../charts/chart'
import { zip, type Packed } from '../../maths/zip'

export type Pictures = 'png' | 'svg'

/** A card's name as that of a file, which no system refuses. */
export const fileName = (name: string): string =>
  name
    .replace(/[^\p{L}\p{N} ._+-]+/gu, '-')
    .replace(/^[.\s-]+|[.\s-]+$/g, '')
    .slice(0, 120) || 'card'

/** The files of cards: pictures of one kind where they have any, and tables. One that two cards show is kept once. */
export async function filesOf(cards: readonly ChartActions[], pictures: Pictures): Promise<Packed[]> {
  const files = new Map<string, Packed['data']>()
  for (const card of cards) {
    const name = fileName(card.name)
    if (pictures === 'svg' && card.svg) files.set(`${name}.svg`, card.svg())
    else if (card.png) {
      const picture = await card.png()
      if (picture) files.set(`${name}.png`, new Uint8Array(await picture.arrayBuffer()))
    }
    if (card.csv) files.set(`${name}.csv`, await card.csv())
    // The page answers between two pictures.
    await new Promise((done) => setTimeout(done))
  }
  return [...files].map(([name, data]) => ({ name, data }))
}

/** All of it as one archive, in a folder of this name. */
export async function archiveOf(folder: string, files: readonly Packed[]): Promise<Blob> {
  const inside = files.map((file) => ({ ...file, name: `${fileName(folder)}/${file.name}` }))
  return new Blob([await zip(inside)], { type: 'application/zip' })
}
