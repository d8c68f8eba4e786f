/// <reference lib="webworker" />
/** Lays out beside the page, so that it answers meanwhile. */
import { layOut } from './layout'
import type { Scene } from './scene'

addEventListener('message', ({ data }: MessageEvent<{ id: number; scene: Scene }>) => {
  try {
    postMessage({ id: data.id, layout: layOut(data.scene) })
  } catch (error) {
    postMessage({ id: data.id, problem: error instanceof Error ? error.message : String(error) })
  }
})
