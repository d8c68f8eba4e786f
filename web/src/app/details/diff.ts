/** The lines of a diff and what each of them says. Pure. */
export interface DiffLine {
  kind: 'file' | 'place' | 'more' | 'less' | 'same'
  text: string
}

/** Reads a unified diff; inside a hunk a line such as `--- x` is a line that went, not a file's name. */
export function diffLines(diff: string): DiffLine[] {
  if (!diff) return []
  let [left, right] = [0, 0]
  return diff
    .replace(/\n$/, '')
    .split('\n')
    .map((text): DiffLine => {
      if (left > 0 || right > 0) {
        if (text.startsWith('+')) return (right--, { kind: 'more', text })
        if (text.startsWith('-')) return (left--, { kind: 'less', text })
        if (!text.startsWith('\\')) [left, right] = [left - 1, right - 1]
        return { kind: 'same', text }
      }
      const hunk = /^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@/.exec(text)
      if (!hunk) return { kind: text.startsWith('\\') ? 'same' : 'file', text }
      ;[left, right] = [Number(hunk[1] ?? 1), Number(hunk[2] ?? 1)]
      return { kind: 'place', text }
    })
}
