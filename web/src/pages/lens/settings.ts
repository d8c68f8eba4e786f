/** Settings of ways of looking, as the address holds them: `occlusion.window=8,rise.masks=500`. Pure. */
import type { LensMethod, LensOption } from '../../wire/types'

export type Settings = Readonly<Record<string, Readonly<Record<string, number>>>>

/** Reads those that methods have and whose value is within its bounds. */
export function readSettings(text: string, methods: readonly LensMethod[]): Settings {
  let found: Settings = {}
  for (const part of text.split(',')) {
    const match = /^([a-z_]+)\.([a-z_]+)=(.+)$/.exec(part)
    const option = methods.find((one) => one.name === match?.[1])?.options.find((one) => one.name === match?.[2])
    if (match && option) found = changed(found, match[1]!, option, match[3]!)
  }
  return found
}

/** With one of them set to what was typed, or at its usual value where that is no number within the bounds. */
export function changed(settings: Settings, method: string, option: LensOption, typed: string): Settings {
  const own = { ...settings[method] }
  const value = typed.trim() === '' ? NaN : Number(typed)
  if (value >= option.low && value <= option.high) own[option.name] = option.whole ? Math.round(value) : value
  else delete own[option.name]
  const others = Object.fromEntries(Object.entries(settings).filter(([name]) => name !== method))
  return Object.keys(own).length ? { ...others, [method]: own } : others
}

/** As the address holds them, in the order of names. */
export function written(settings: Settings): string {
  return Object.entries(settings)
    .flatMap(([method, own]) => Object.entries(own).map(([name, v]) => `${method}.${name}=${v}`))
    .sort()
    .join(',')
}
