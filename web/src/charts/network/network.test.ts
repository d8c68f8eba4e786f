import { describe, expect, it } from 'vitest'
import { cameraFromText, cameraText, fitCamera, moved, reveal, zoomed } from './camera'
import { layOut, type Layout } from './layout'
import { residual } from './sample'
import { IN, makeScene, OUT } from './scene'
import { around, makeTree, openAtFirst, visibleCount, type Tree } from './tree'
import { wayPath, wayPoints } from './way'

const size = () => ({ width: 100, height: 40 })
const all = (tree: Tree) =>
  new Set([...tree.nodes.values()].filter((n) => n.type !== 'layer' && n.parent).map((n) => n.id))
const laid = (graph = residual(2, 3), open?: Set<string>, tree = makeTree(graph)) =>
  layOut(makeScene(graph, tree, open ?? all(tree), size))

describe('the tree of a network', () => {
  it('folds equal blocks and leaves others alone', () => {
    const graph = residual(2, 3)
    const tree = makeTree(graph)
    expect(tree.root.children.map((c) => c.id)).toEqual(['x', 'stage0', 'stage1', 'output'])
    const stage = tree.nodes.get('stage0')!
    expect(stage.children.map((c) => [c.type, c.children.length])).toEqual([['fold', 3]])
    expect(stage.children[0]!.id).toBe('stage0.0…stage0.2')
    expect([stage.parameters, stage.multiplyAdds, stage.skips, stage.layers.length]).toEqual([96, 96, 3, 15])
    expect(around(tree.leaves[1]!).map((n) => n.id)).toEqual(['stage0', 'stage0.0…stage0.2', 'stage0.0'])
    // Another stride, and the first block is no longer equal to the others.
    graph.layers[1] = { ...graph.layers[1]!, attributes: { stride: [2, 2] } }
    expect(
      makeTree(graph)
        .nodes.get('stage0')!
        .children.map((c) => c.id),
    ).toEqual(['stage0.0', 'stage0.1…stage0.2'])
    expect(makeTree(graph, false).nodes.get('stage0')!.children).toHaveLength(3)
  })

  it('is open at first as far as it stays small, with one skip connection to be seen', () => {
    const tree = makeTree(residual(4, 3))
    const open = openAtFirst(tree)
    expect(visibleCount(tree.root, open)).toBeLessThanOrEqual(64)
    const block = [...open].map((id) => tree.nodes.get(id)!).find((n) => n.kind === 'Block' && n.type === 'group')
    expect(block).toBeDefined()
    expect(around(block!).every((n) => open.has(n.id))).toBe(true)
    expect(openAtFirst(makeTree(residual(0, 0)))).toEqual(new Set())
  })
})

describe('the scene', () => {
  it('joins closed groups, and leads arrows through the borders of open ones', () => {
    const graph = residual(2, 2)
    const tree = makeTree(graph)
    const shut = makeScene(graph, tree, new Set(), size).groups
    expect(shut).toHaveLength(1)
    expect(shut[0]!.edges).toEqual([
      { from: 'x', to: 'stage0', skip: false },
      { from: 'stage0', to: 'stage1', skip: false },
      { from: 'stage1', to: 'output', skip: false },
    ])
    const groups = makeScene(graph, tree, all(tree), size).groups
    const block = groups.find((g) => g.id === 'stage0.1')!
    expect(block.boxes.map((b) => b.id)).toEqual(
      ['conv0', 'relu0', 'conv1', 'relu1', 'add'].map((n) => `stage0.1.${n}`),
    )
    expect(block.edges).toContainEqual({ from: IN, to: 'stage0.1.add', skip: true })
    expect(block.edges).toContainEqual({ from: IN, to: 'stage0.1.conv0', skip: false })
    expect(block.edges).toContainEqual({ from: 'stage0.1.add', to: OUT, skip: false })
    // What leads to the block from outside is the main path, and a skip as well: it is drawn as the main path.
    expect(groups.find((g) => g.id === 'stage0.0…stage0.1')!.edges).toContainEqual({
      from: 'stage0.0',
      to: 'stage0.1',
      skip: false,
    })
  })

  it('marks the whole way of a skip that has layers of its own', () => {
    const graph = residual(1, 1)
    graph.layers.push({ ...graph.layers[1]!, layer_id: 'stage0.0.down', group: 'stage0.0' })
    graph.edges = graph.edges.filter((e) => !e.skip)
    graph.edges.push({ source: 'x', target: 'stage0.0.down', skip: false })
    graph.edges.push({ source: 'stage0.0.down', target: 'stage0.0.add', skip: true })
    graph.skips = [{ source: 'x', target: 'stage0.0.add', through: ['stage0.0.down'] }]
    const tree = makeTree(graph)
    const { edges } = makeScene(graph, tree, all(tree), size).groups.find((g) => g.id === 'stage0.0')!
    expect(edges.filter((e) => e.skip).map((e) => [e.from, e.to])).toEqual([
      [IN, 'stage0.0.down'],
      ['stage0.0.down', 'stage0.0.add'],
    ])
  })
})

const overlaps = (layout: Layout) =>
  layout.boxes.flatMap((a, i) =>
    layout.boxes
      .slice(i + 1)
      .filter(
        (b) =>
          a.x < b.x + b.width - 0.01 &&
          b.x < a.x + a.width - 0.01 &&
          a.y < b.y + b.height - 0.01 &&
          b.y < a.y + a.height - 0.01,
      )
      .map((b) => [a, b] as const),
  )

describe('the layout', () => {
  it('puts boxes below one another, inside their groups, and lets none overlap', () => {
    const graph = residual(2, 3)
    const tree = makeTree(graph)
    const layout = laid(graph, undefined, tree)
    const box = new Map(layout.boxes.map((b) => [b.id, b]))
    expect(layout.boxes).toHaveLength(tree.nodes.size - 1)
    for (const [a, b] of overlaps(layout)) {
      const [outer, inner] = a.width * a.height > b.width * b.height ? [a, b] : [b, a]
      expect(around(tree.nodes.get(inner.id)!).map((n) => n.id)).toContain(outer.id)
    }
    for (const b of layout.boxes) {
      const parent = box.get(tree.nodes.get(b.id)!.parent!.id) ?? {
        x: 0,
        y: 0,
        width: layout.width,
        height: layout.height,
      }
      expect(b.x).toBeGreaterThan(parent.x)
      expect(b.y).toBeGreaterThan(parent.y)
      expect(b.x + b.width).toBeLessThan(parent.x + parent.width)
      expect(b.y + b.height).toBeLessThan(parent.y + parent.height)
    }
    expect(box.get('stage0.0.conv1')!.y).toBeGreaterThan(box.get('stage0.0.relu0')!.y)
  })

  it('draws each skip as an arc beside the boxes that it jumps over', () => {
    const graph = residual(2, 3)
    const layout = laid(graph)
    const arcs = layout.ways.filter((w) => w.arc)
    expect(arcs).toHaveLength(graph.skips.length)
    for (const arc of arcs) {
      const side = Math.max(...arc.points.filter((_, i) => i % 2 === 0))
      const inside = layout.boxes.filter((b) => !b.open && b.id.startsWith(`${arc.group}.`))
      for (const b of inside) expect(side).toBeGreaterThan(b.x + b.width)
    }
  })

  it('nests the arcs of a decoder', () => {
    const ids = ['x', 'a', 'b', 'c', 'd', 'output']
    const graph = residual(0, 0)
    graph.layers = ids.map((id) => ({ ...graph.layers[0]!, layer_id: id, kind: 'Conv2d', group: '' }))
    graph.edges = ids.slice(1).map((id, i) => ({ source: ids[i]!, target: id, skip: false }))
    graph.edges.push({ source: 'x', target: 'd', skip: true }, { source: 'a', target: 'c', skip: true })
    graph.skips = [
      { source: 'x', target: 'd', through: [] },
      { source: 'a', target: 'c', through: [] },
    ]
    const sides = laid(graph)
      .ways.filter((w) => w.arc)
      .map((w) => Math.max(...w.points.filter((_, i) => i % 2 === 0)))
    expect(sides[0]).toBeGreaterThan(sides[1]!)
  })

  it('bears rings, and arrows to what is not there', () => {
    const graph = residual(1, 1)
    graph.edges.push({ source: 'output', target: 'x', skip: false }, { source: 'nobody', target: 'x', skip: true })
    expect(laid(graph).boxes.length).toBeGreaterThan(3)
  })

  it('lays out a network as large as ResNet-50 in the time of a few frames', () => {
    const graph = residual(4, 4, 5)
    const tree = makeTree(graph)
    expect(graph.layers.length).toBeGreaterThan(170)
    const start = performance.now()
    laid(graph, openAtFirst(tree), tree)
    expect(performance.now() - start).toBeLessThan(2000) // 30 ms on a quiet machine
  })
})

describe('the camera', () => {
  const picture = { width: 200, height: 2000 }
  const screen = { width: 800, height: 500 }
  it('fits, and zooms about a point', () => {
    const all = fitCamera(picture, screen)
    expect(all.k).toBeCloseTo((500 - 32) / 2000, 10)
    const near = zoomed(all, 2, 100, 50)
    expect(near.x + 100 / near.k).toBeCloseTo(all.x + 100 / all.k, 9)
    expect(near.y + 50 / near.k).toBeCloseTo(all.y + 50 / all.k, 9)
  })
  it('never leaves the picture, and goes to a box', () => {
    const far = moved({ x: 0, y: 0, k: 1 }, -1e6, -1e6, picture, screen)
    expect(far.y).toBeLessThan(picture.height)
    const at = reveal({ x: 0, y: 0, k: 1 }, { x: 0, y: 1500, width: 100, height: 40 }, screen)
    expect(at.y).toBeGreaterThan(1000)
    expect(at.y + screen.height).toBeGreaterThanOrEqual(1540)
  })
  it('stands in the address', () => {
    expect(cameraFromText(cameraText({ x: 12.4, y: -3, k: 0.5 }))).toEqual({ x: 12, y: -3, k: 0.5 })
    for (const text of ['', '1,2', 'a,b,c', '1,2,Infinity']) expect(cameraFromText(text)).toBeNull()
  })
})

it('draws ways as paths and as points', () => {
  expect(wayPath([0, 0, 0, 10], false)).toBe('M0 0V10')
  expect(wayPath([0, 0, 20, 0, 20, 40, 0, 40], true)).toBe('M0 0L12 0Q20 0 20 8L20 32Q20 40 12 40L0 40')
  expect(wayPath([0, 0, 5, 10, 0, 20], false)).toContain('Q5 10 0 20')
  const points = wayPoints([0, 0, 10, 10], false)
  expect(points.slice(0, 2)).toEqual([0, 0])
  expect(points.slice(-2)).toEqual([10, 10])
})
