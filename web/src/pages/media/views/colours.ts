/** Colours of classes that can be told apart, in both themes. */
export const CLASS_COLOURS = [
  '#4477aa',
  '#ee6677',
  '#228833',
  '#ccbb44',
  '#66ccee',
  '#aa3377',
  '#bb8855',
  '#7f7f7f',
  '#9966cc',
  '#33aa99',
]

export const classColour = (k: number): string => CLASS_COLOURS[((k % 10) + 10) % 10]!
