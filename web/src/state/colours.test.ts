import { describe, expect, test } from 'vitest'
import { assignSlots, COLOURS, slotColour } from './colours'

const runs = (n: number) => Array.from({ length: n }, (_, i) => ({ id: `p/${i}`, project: 'p', created: i }))

describe('colours of runs', () => {
  test('the first ten all differ, in both themes', () => {
    const slots = assignSlots(new Map(), runs(COLOURS))
    for (const theme of ['light', 'dark'] as const) {
      expect(new Set([...slots.values()].map((s) => slotColour(s, theme))).size).toBe(COLOURS)
    }
  })
  test('a run keeps its colour when others come and go', () => {
    const before = assignSlots(new Map(), runs(6))
    const after = assignSlots(before, [...runs(6).slice(2), { id: 'p/new', project: 'p', created: 99 }])
    for (let i = 2; i < 6; i++) expect(after.get(`p/${i}`)).toBe(before.get(`p/${i}`))
    // The new one takes a colour that no run on the screen has.
    expect([2, 3, 4, 5].map((i) => after.get(`p/${i}`))).not.toContain(after.get('p/new'))
  })
  test('the order of the list does not matter, the order of creation does', () => {
    expect(assignSlots(new Map(), runs(5).reverse())).toEqual(assignSlots(new Map(), runs(5)))
  })
  test('neighbours within a project differ, however many projects run at once', () => {
    const mixed = Array.from({ length: 500 }, (_, i) => ({ id: `r${i}`, project: `p${i % 5}`, created: i }))
    const slots = assignSlots(new Map(), mixed)
    const newest = mixed.filter((r) => r.project === 'p4').slice(-COLOURS)
    expect(new Set(newest.map((r) => slots.get(r.id))).size).toBe(COLOURS)
  })
  test('the first runs of several projects differ too', () => {
    const mixed = ['a', 'b', 'c'].map((project, created) => ({ id: project, project, created }))
    expect(new Set(assignSlots(new Map(), mixed).values()).size).toBe(3)
  })
})
