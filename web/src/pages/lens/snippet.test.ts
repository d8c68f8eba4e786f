import { describe, expect, test } from 'vitest'
import type { LensMethod, LensResult } from '../../wire/types'
import type { Asked } from './looks.svelte'
import { snippet } from './snippet'

const method = (name: string, kind: LensMethod['kind'], takes: string[]): LensMethod => ({
  name, kind, takes, words: '', paper: '', slow: false, reason: '', options: [],
}) // prettier-ignore
const asked: Asked = {
  run: 'digits/1', step: 40, series: 'predictions', example: 5, photo: null, picture: null, target: null, layer: null,
  inside: null, place: null, unit: null, methods: [], settings: {}, takes: () => true, theme: 'light',
} // prettier-ignore
const result = { target: 3, layer: 'conv2' } as LensResult

describe('the Python of a picture', () => {
  const cam = method('grad_cam', 'attribution', ['image', 'target', 'layer'])
  test('names the step, the example, the class and the layer that were looked at', () => {
    expect(snippet(asked, cam, result, { picture: true })).toBe(
      'import epochal\n\nrun = epochal.open().run("digits/1")\nnetwork = run.network(40)\n' +
        'image = run.predictions().given[5].transpose(2, 0, 1)\n' +
        'found = epochal.lens.grad_cam(network, image, target=3, layer="conv2")\nfound.save("grad_cam.png")\n',
    )
  })
  test('a film takes the class and layer of the picture', () => {
    expect(snippet({ ...asked, example: null, photo: 'chelsea' }, cam, result, { film: true })).toContain(
      'image = epochal.lens.open_photo("chelsea", network).array\n' +
        'epochal.lens.film(epochal.lens.grad_cam, run, image=image, target=3, layer="conv2").save("grad_cam.gif")',
    )
  })
  test('a unit is explained from inside, and searched for at its place', () => {
    const unit: Asked = { ...asked, inside: 'conv1', place: [2, 4], target: 7 }
    const own = { ...result, target: 7, layer: null } as LensResult
    expect(snippet(unit, method('saliency', 'attribution', ['image', 'target']), own)).toContain(
      'epochal.lens.inside(network, "conv1", place=(2, 4))\n',
    )
    const found = snippet(unit, method('maximize', 'maximum', ['target', 'layer', 'channel']), own)
    expect(found).toContain('maximize(network, layer="conv1", channel=7, place=(2, 4))')
    expect(found).not.toContain('image')
  })
  test('settings are written', () => {
    const set: Asked = { ...asked, settings: { occlusion: { window: 8 } } }
    expect(snippet(set, method('occlusion', 'attribution', ['image', 'target']), result)).toContain(
      'occlusion(network, image, target=3, window=8)',
    )
  })
})
