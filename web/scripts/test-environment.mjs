// Node, but with Svelte's browser half: its server half has no effects, and state would not be followed in tests.
export default {
  name: 'browser-half',
  viteEnvironment: 'client',
  setup: () => ({ teardown() {} }),
}
