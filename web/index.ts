// The public names of `stepwell/web`.

export { browser } from './browser.ts'
export type { Lost } from './database.ts'
export type { BrowserClient, BrowserOptions, BrowserServices, RunsOptions, StorageHealth } from './browser.ts'
