// What a SIGKILL of Chromium may leave of its database, and what Chromium makes of it.
//
// IndexedDB lies in a LevelDB, which writes each record of its log with two calls: a header, then the data. A kill between the two, or
// inside the second, leaves a torn record at the end. Opened again, LevelDB ignores it (nobody was told that it was committed), and appends
// behind it (`reuse_logs`). From then on the torn header covers the bytes of the record that follows it; the next time the log is
// read, its checksum is wrong, and Chromium throws the whole database away and makes an empty one (`dataLoss`: 'total'). So a kill, an
// opening and another end of the browser can lose every run of an origin. No page can prevent it; test/kill/data-loss.test.ts shows
// that stepwell says it. The other tests that kill are about what stepwell does with a database that is there.

import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'

const BLOCK = 32_768
/** Checksum (4), length (2, little-endian), type (1). */
const HEADER = 7
const FULL = 1
const LAST = 4

/** The logs of the databases in a profile of Chromium, newest last. */
export async function logsOf(profile: string): Promise<string[]> {
  const root = join(profile, 'Default', 'IndexedDB')
  const databases = (await readdir(root).catch(() => [])).filter((name) => name.endsWith('.leveldb'))
  const found = await Promise.all(databases.map(async (name) => (await readdir(join(root, name))).filter((file) => file.endsWith('.log')).sort().map((file) => join(root, name, file))))
  return found.flat()
}

/** Where the last whole record ends. As LevelDB's doc/log_format.md describes it. */
export function endOfWhole(log: Uint8Array): number {
  let end = 0
  for (let at = 0; at < log.length;) {
    const left = BLOCK - at % BLOCK
    if (left < HEADER) {
      // Padding.
      at += left
      continue
    }
    if (at + HEADER > log.length) break
    const length = (log[at + 4] as number) | ((log[at + 5] as number) << 8)
    const type = log[at + 6] as number
    at += HEADER + length
    if (type === 0 || at > log.length) break
    if (type === FULL || type === LAST) end = at
  }
  return end
}

/** Cuts off what the kill has torn, as if Chromium had done so when it opened the log: how many logs were torn. */
export async function cutTorn(profile: string): Promise<number> {
  let torn = 0
  for (const path of await logsOf(profile)) {
    const file = await open(path, 'r+')
    try {
      const log = await file.readFile()
      const end = endOfWhole(log)
      if (end === log.length) continue
      torn++
      await file.truncate(end)
    } finally {
      await file.close()
    }
  }
  return torn
}
