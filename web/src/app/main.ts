/** Starts the Studio: live or static is decided here, once. */
import { mount } from 'svelte'
import { liveTransport } from '../source/live'
import { chooseSource, Source } from '../source/source'
import { staticTransport } from '../source/static'
import { address } from '../state/address.svelte'
import { catalogue } from '../state/catalogue.svelte'
import { curves } from '../state/curves.svelte'
import { labs } from '../state/labs.svelte'
import { theme } from '../state/theme.svelte'
import './app.css'
import App from './App.svelte'
import { PAGES } from './pages'

const AHEAD_MS = 100

async function start(): Promise<void> {
  theme.start()
  address.start()
  const archive = document.getElementById('epochal-data')?.textContent?.trim()
  chooseSource(new Source(archive ? await staticTransport(archive) : liveTransport()))
  // The page is on its way while the frame around it is made.
  const page = PAGES.find(({ id }) => id === address.page)
  page?.load().catch(() => {})
  const ahead = page?.alone ? labs.start() : null
  // What is asked for next is on its way while the frame is made; an answer that takes long is not waited for.
  if (ahead) await Promise.race([labs.load(), new Promise((done) => setTimeout(done, AHEAD_MS))])
  mount(App, { target: document.getElementById('app')! })
  curves.start()
  await ahead
  await catalogue.start()
}

void start()
