// The clock is set forward and back, by an hour and by a day, in the middle of runs. What it cannot be: set by a program of this
// machine, which would set it for all. So it is replaced before the library is loaded (test/worker/clock.ts), in the real host.

import { expect, test } from 'vitest'
import { setBrowserClock, setEdgeClock } from './clock.ts'
import { openScene } from './edge.ts'
import { openFlock } from './flock.ts'

const SEED = 20261125

test('G11, G12, G19: the clock of workerd is set forward and back in the middle of runs: times never decrease, timers fire once, no charge happens twice, all end', async () => {
  const scene = await openScene('../worker/herd-worker.ts')
  try {
    const { wrongs, jumps, decided, seconds } = await setEdgeClock(scene, 'clock', 16, 4, SEED)
    console.log(`edge, seed ${SEED}: set to ${jumps.join(', ')} ms; ${decided} effects decided; ${seconds} s`)
    expect(wrongs).toEqual([])
    expect(new Set(jumps.map(Math.sign)).size).toBe(2)
  } finally {
    await scene.close()
  }
}, 180_000)

test('G11, G12, G19: the clock of a tab is set forward and back in the middle of runs: times never decrease, timers fire once, no charge happens twice, all end', async () => {
  const scene = await openFlock()
  try {
    const { wrongs, jumps, decided, seconds } = await setBrowserClock(scene, 'clock', 16, 4, SEED)
    console.log(`browser, seed ${SEED}: set to ${jumps.join(', ')} ms; ${decided} effects decided; ${seconds} s`)
    expect(wrongs).toEqual([])
    expect(new Set(jumps.map(Math.sign)).size).toBe(2)
  } finally {
    await scene.close()
  }
}, 180_000)
