/** Pictures of the user on their way to the server, which takes up to a megabyte. */
import { source } from '../../source/source'
import { address } from '../../state/address.svelte'
import { toasts } from '../../state/toasts.svelte'
import { lensWords as w } from './words'

const MOST_BYTES = 900_000
const SIDES = [1600, 1024, 640]

/** Whether a picture is on its way. */
export const uploading = $state({ busy: false })

/** The file itself where it is small, else the same picture smaller. Rejects what no browser can read. */
async function fitting(file: Blob): Promise<Blob> {
  if (file.size <= MOST_BYTES) return file
  const bitmap = await createImageBitmap(file)
  try {
    for (const side of SIDES) {
      const factor = Math.min(1, side / Math.max(bitmap.width, bitmap.height))
      const canvas = document.createElement('canvas')
      canvas.width = Math.max(1, Math.round(bitmap.width * factor))
      canvas.height = Math.max(1, Math.round(bitmap.height * factor))
      const pen = canvas.getContext('2d')
      if (!pen) break
      pen.imageSmoothingQuality = 'high'
      pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
      const smaller = await new Promise<Blob | null>((done) => canvas.toBlob(done, 'image/jpeg', 0.95))
      if (smaller && smaller.size <= MOST_BYTES) return smaller
    }
  } finally {
    bitmap.close()
  }
  throw new Error('too large')
}

/** Hands a picture to the server, and makes it the input in the address; says so where it cannot be read. */
export async function upload(file: Blob | null): Promise<void> {
  if (!file) return
  uploading.busy = true
  try {
    const { picture } = await source().keepPicture(await fitting(file))
    address.set('picture', picture)
    address.set('from', 'picture')
  } catch (error) {
    toasts.say(error instanceof Error && 'hint' in error ? error.message : w.uploadFailed, { bad: true })
  } finally {
    uploading.busy = false
  }
}

/** A picture that was pasted anywhere on the page. */
export function paste(event: ClipboardEvent): void {
  const file = pictureAmong(event.clipboardData?.files)
  if (!file) return
  event.preventDefault()
  void upload(file)
}

/** The first picture among files that were dropped or pasted. */
export const pictureAmong = (files: FileList | null | undefined): File | null =>
  [...(files ?? [])].find((file) => file.type.startsWith('image/')) ?? null
