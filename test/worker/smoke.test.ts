import { env, withExports } from 'cloudflare:workers'
import { test } from 'vitest'
import { setups, well } from './worker.ts'

test('smoke', async () => {
  for (const [name, s] of Object.entries(setups)) {
    try { const r = await s.client(env as object).start('add', { a: 1, b: 2 }); console.log(name, r.id, await r.result()) } catch (e) { console.log(name, (e as any).code, (e as any).message) }
  }
  await (withExports({ Run: class {} }, async () => {
    try { const r = await well.client(env as object).start('add', { a: 1, b: 2 }); console.log(r.id, await r.result()) } catch (e) { console.log((e as any).code, (e as any).message) }
  }) as Promise<void>)
}, 60000)
