import { expect, it } from 'vitest'
import { NO_TIME } from '../state/timeline'
import { stepOfEpoch, timeAxis, timeTicks } from './time'

const time = { ...NO_TIME, first: 0, last: 400, epochSteps: [100, 200, 300, 400], epochs: [1, 2, 3, 4] }

it('labels in epochs where they are known', () => {
  expect(timeTicks(time, 100, 400, 4)).toEqual({ ticks: [100, 200, 300, 400], labels: ['1', '2', '3', '4'] })
  expect(timeTicks(NO_TIME, 0, 400, 4)).toEqual({
    ticks: [0, 100, 200, 300, 400],
    labels: ['0', '100', '200', '300', '400'],
  })
  expect(stepOfEpoch(time, 2.5)).toBe(250)
  expect(stepOfEpoch(time, 0)).toBe(0)
})

it('is as wide as the run so far', () => {
  expect(timeAxis(time, [50, 500])).toEqual({ from: 0, to: 500 })
  expect(timeAxis(NO_TIME, [7])).toEqual({ from: 0, to: 7 })
  expect(timeAxis({ ...NO_TIME, first: 7, last: 7 }, [7])).toEqual({ from: 6.5, to: 7.5 })
})
