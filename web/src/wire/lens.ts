/** What a way of looking found, as the wire packs it. */
import { decodeContainer, WireError } from './frames'
import type { LensHeader } from './types'

/** Maps [count, height, width] of numbers, or pictures [count, height, width, 3] of bytes. */
export interface Look {
  count: number
  height: number
  width: number
  maps: Float32Array | null
  pixels: Uint8Array | null
  /** Which channels these are, strongest first; empty where there are none. */
  channels: number[]
  /** How many channels the layer has. */
  total: number
}

export function decodeLook(buffer: ArrayBuffer): Look {
  const { facts, arrays } = decodeContainer(buffer)
  const { channels, total } = facts as unknown as LensHeader
  const [maps, pixels] = [arrays.maps, arrays.pixels]
  const shape = (maps ?? pixels)?.shape
  if (!shape || shape.length < 3) throw new WireError('the lens found neither maps nor pixels')
  const [count, height, width] = shape as [number, number, number]
  return {
    count,
    height,
    width,
    channels,
    total,
    maps: maps ? (maps.data as Float32Array) : null,
    pixels: pixels ? (pixels.data as Uint8Array) : null,
  }
}

/** The numbers of one of its maps. */
export const mapOf = (look: Look, i: number): Float32Array =>
  look.maps!.subarray(i * look.height * look.width, (i + 1) * look.height * look.width)

/** The bytes of one of its pictures. */
export const pictureOf = (look: Look, i: number): Uint8Array =>
  look.pixels!.subarray(i * look.height * look.width * 3, (i + 1) * look.height * look.width * 3)
