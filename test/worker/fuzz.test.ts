// A slice of the fuzzing of the HTTP API; `npm run campaign -- --only fuzz` goes on for as long as it is told, from other seeds.

import { env } from 'cloudflare:workers'
import { afterEach, expect, test } from 'vitest'
import { fuzzHttp, REQUESTS_OF_A_SEED } from '../fuzz/http.ts'
import { stored } from './objects.ts'
import { app, world } from './worker.ts'

const SEED = 1
const SEEDS = 15
const allowAll = world.authorize

afterEach(() => { world.authorize = allowAll })

test(`G28: ${SEEDS * REQUESTS_OF_A_SEED} requests from seed ${SEED}: answered in time, refused with a known code, and what is refused changes nothing`, async () => {
  let asked = 0
  world.authorize = (...args) => {
    asked++
    return allowAll(...args)
  }
  const counts = await fuzzHttp({
    async fetch(request) {
      const before = asked
      const response = await app.fetch(request, env)
      return { response, isReached: asked > before }
    },
    async stored(id) {
      const { tables, alarm } = await stored(id)
      return { content: JSON.stringify({ tables, alarm }), rows: Object.values(tables).flat().length }
    },
  }, SEED, SEEDS)
  console.log(`HTTP, ${SEEDS} seeds from ${SEED}: ${JSON.stringify(counts)}`)
  expect(counts.requests).toBeGreaterThan(SEEDS * REQUESTS_OF_A_SEED * 0.9)
  expect(counts.reached).toBeGreaterThanOrEqual(counts.requests / 2)
  expect(counts.oneField).toBeGreaterThanOrEqual(counts.requests / 5)
  expect(Math.min(counts.refused, counts.accepted, counts.changes)).toBeGreaterThan(counts.requests / 10)
}, 300_000)
