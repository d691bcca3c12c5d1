import { test } from 'vitest'
import { runSlice, SCHEDULES } from './slice.ts'

const FIRST_SEED = 1

test(`${SCHEDULES} schedules from seed ${FIRST_SEED}: every guarantee holds, and every fault has hit every kind of entry on both hosts`, () => runSlice(FIRST_SEED), 900_000)
