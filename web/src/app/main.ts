/** Starts the Studio: live or static is decided here, once. */
import { mount } from 'svelte'
import { liveTransport } from '../source/live'
import { chooseSource, Source } from '../source/source'
import { staticTransport } from '../source/static'
import { address } from '../state/address.svelte'
import { catalogue } from '../state/catalogue.svelte'
import { curves } from '../state/curves.svelte'
import { theme } from '../state/theme.svelte'
import './app.css'
import App from './App.svelte'

async function start(): Promise<void> {
  theme.start()
  address.start()
  const archive = document.getElementById('epochal-data')?.textContent?.trim()
  chooseSource(new Source(archive ? await staticTransport(archive) : liveTransport()))
  mount(App, { target: document.getElementById('app')! })
  curves.start()
  await catalogue.start()
}

void start()
