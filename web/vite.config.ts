import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

/** The Studio as `epochal view` serves it: hashed assets, heavy pages loaded when they are opened. */
export default defineConfig(({ mode }) => ({
  base: './',
  plugins: [svelte()],
  build: {
    outDir: '../src/epochal/studio',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 300,
  },
  server: { port: 6071, proxy: { '/api': 'http://127.0.0.1:6070' } },
  // Tests run in Node, but with Svelte's browser half: its server half has no effects.
  resolve: mode === 'test' ? { conditions: ['browser', 'module', 'development'] } : {},
  test: {
    include: ['src/**/*.test.ts'],
    environment: './scripts/test-environment.mjs',
    server: { deps: { inline: ['svelte'] } },
  },
}))
