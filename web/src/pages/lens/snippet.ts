/** Python that draws a picture of the Lens page again. Pure. */
import { pythonRun } from '../../charts/chart'
import type { LensMethod, LensResult } from '../../wire/types'
import type { Asked } from './looks.svelte'

/** The input: a recorded example, a sample photo, or a picture of one's own, which has to be named. */
function inputOf(asked: Asked, picture: boolean): string {
  if (asked.example !== null) {
    const series = asked.series && asked.series !== 'predictions' ? `name=${JSON.stringify(asked.series)}` : ''
    const turned = picture ? '.transpose(2, 0, 1)' : ''
    return `image = run.predictions(${series}).given[${asked.example}]${turned}\n`
  }
  const name = asked.photo === null ? '"your-picture.png"' : JSON.stringify(asked.photo)
  return `image = epochal.lens.open_photo(${name}, network).array\n`
}

const written = (settings: Readonly<Record<string, number>>) =>
  Object.entries(settings).map(([name, v]) => `${name}=${v}`)

/** The lines that draw what a method found; with `film`, at every snapshot. `picture`: examples are pictures [H, W, C]. */
export function snippet(
  asked: Asked,
  method: LensMethod,
  result: LensResult | null,
  { film = false, picture = false, step = asked.step } = {},
): string {
  const takes = (what: string) => method.takes.includes(what)
  const inside = asked.inside !== null && method.kind === 'attribution' ? asked.inside : null
  const target = takes('target') ? (result?.target ?? asked.target) : null
  const layer = takes('layer') && method.kind !== 'maximum' ? (result?.layer ?? asked.layer) : null
  const how: string[] = []
  if (method.kind === 'maximum' && asked.inside !== null) {
    how.push(`layer=${JSON.stringify(asked.inside)}`, `channel=${asked.target ?? 0}`)
    if (asked.place) how.push(`place=(${asked.place.join(', ')})`)
  } else if (target !== null) how.push(`target=${target}`)
  if (layer !== null) how.push(`layer=${JSON.stringify(layer)}`)
  how.push(...written(asked.settings[method.name] ?? {}))
  let lines = pythonRun(asked.run) + `network = run.network(${step})\n`
  if (inside !== null) {
    const place = asked.place ? `, place=(${asked.place.join(', ')})` : ''
    lines += `network = epochal.lens.inside(network, ${JSON.stringify(inside)}${place})\n`
  }
  if (takes('image')) lines += inputOf(asked, picture)
  if (takes('data')) {
    const turned = picture ? '.transpose(0, 3, 1, 2)' : ''
    lines += `data = run.predictions(${asked.series ? `name=${JSON.stringify(asked.series)}` : ''}).given${turned}\n`
  }
  const named = `epochal.lens.${method.name}`
  const first = takes('image') ? ['image'] : takes('data') ? ['data'] : []
  if (film && !inside) {
    const given = takes('image') ? ['image=image'] : []
    return lines + `epochal.lens.film(${[named, 'run', ...given, ...how].join(', ')}).save("${method.name}.gif")\n`
  }
  return lines + `found = ${named}(${['network', ...first, ...how].join(', ')})\nfound.save("${method.name}.png")\n`
}
