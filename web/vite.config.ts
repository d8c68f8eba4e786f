import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

/** The Studio as `epochal view` serves it: hashed assets, heavy pages loaded when they are opened. */
export default defineConfig({
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
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
})
