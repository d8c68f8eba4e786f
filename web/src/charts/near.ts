/** Tells whether an element is on the screen or close to it, so that only what can be seen is loaded and drawn. */

import type { Attachment } from 'svelte/attachments'

/** How far outside of the page's view still counts as near. */
const MARGIN = '240px 0px'

export function near(tell: (yes: boolean) => void): Attachment {
  return (element) => {
    const root = document.getElementById('page')
    const observer = new IntersectionObserver((entries) => tell(entries.at(-1)!.isIntersecting), {
      root: root?.contains(element) ? root : null,
      rootMargin: MARGIN,
    })
    observer.observe(element)
    return () => observer.disconnect()
  }
}
