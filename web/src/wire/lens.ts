/** What a way of looking found, as the wire packs it. */
import { decodeContainer, WireError } from './frames'
import type { LensExamples, LensHeader } from './types'

/** Maps [count, height, width] of numbers, of volumes [count, depth, height, width], or pictures [count, height, width, 3] of bytes. */
export interface Look {
  count: number
  /** 1 where it is no volume. */
  depth: number
  height: number
  width: number
  maps: Float32Array | null
  pixels: Uint8Array | null
  /** Which channels these are, strongest first; empty where there are none. */
  channels: number[]
  /** How many channels the layer has. */
  total: number
  /** Of the strongest examples of a unit: what they are. */
  examples: LensExamples | null
}

export function decodeLook(buffer: ArrayBuffer): Look {
  const { facts, arrays } = decodeContainer(buffer)
  const { channels, total, examples } = facts as unknown as LensHeader
  const [maps, pixels] = [arrays.maps, arrays.pixels]
  const shape = (maps ?? pixels)?.shape
  if (!shape || shape.length < 3) throw new WireError('the lens found neither maps nor pixels')
  const count = shape[0]!
  const depth = maps && shape.length === 4 ? shape[1]! : 1
  const [height, width] = (maps ? shape.slice(-2) : shape.slice(1)) as [number, number]
  return {
    count,
    depth,
    height,
    width,
    channels,
    total,
    examples: examples ?? null,
    maps: maps ? (maps.data as Float32Array) : null,
    pixels: pixels ? (pixels.data as Uint8Array) : null,
  }
}

/** The numbers of one of its maps. */
export const mapOf = (look: Look, i: number): Float32Array =>
  look.maps!.subarray(i * mapSize(look), (i + 1) * mapSize(look))

const mapSize = (look: Look) => look.depth * look.height * look.width

/** The bytes of one of its pictures. */
export const pictureOf = (look: Look, i: number): Uint8Array =>
  look.pixels!.subarray(i * look.height * look.width * 3, (i + 1) * look.height * look.width * 3)
