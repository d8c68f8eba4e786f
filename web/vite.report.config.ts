import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'
import { viteSingleFile } from 'vite-plugin-singlefile'

/** The same Studio as one file, `report.html`: an export puts a run's data into it, and it opens from disk. */
export default defineConfig({
  base: './',
  // The worker that lays out networks is inside the page, too.
  resolve: {
    alias: [
      { find: /^\.\/start$/, replacement: new URL('./src/charts/network/start.report.ts', import.meta.url).pathname },
    ],
  },
  plugins: [svelte(), viteSingleFile({ useRecommendedBuildConfig: true, removeViteModuleLoader: true })],
  build: {
    outDir: '../src/epochal/studio',
    emptyOutDir: false,
    target: 'es2022',
    chunkSizeWarningLimit: 1000,
    rolldownOptions: { input: 'report.html' },
  },
})
