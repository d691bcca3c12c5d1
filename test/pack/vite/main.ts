import { browser } from 'stepwell/web'
import { hello } from './hello.ts'

const well = await browser({ name: 'packed', workflows: [hello], services: { greet: async (name) => `Hello ${name}` } })
const run = await well.start(hello, { name: 'Vite' })
const { greeting } = await run.result()
document.querySelector('output')!.textContent = greeting
