import { afterEach, describe, expect, test, vi } from 'vitest'
import { createBrowserHost } from '../../web/host.ts'

describe('the browser host port', () => {
  const host = createBrowserHost()

  test('quiesce resolves only when the microtask queue is empty: a chain of 5,000 links has run', async () => {
    for (const kind of ['await', 'then', 'thenable', 'queueMicrotask'] as const) {
      let links = 0
      const chain = async (): Promise<void> => {
        for (; links < 5_000; links++) {
          if (kind === 'await') await undefined
          else if (kind === 'then') await Promise.resolve().then(() => {})
          else if (kind === 'thenable') await { then: (done: () => void) => done() }
          else await new Promise<void>((resolve) => queueMicrotask(resolve))
        }
      }
      void chain()
      await host.quiesce()
      expect([kind, links]).toEqual([kind, 5_000])
    }
  })

  test('who asks while a turn is under way is not answered before their own chain has run', async () => {
    const first = host.quiesce()
    let links = 0
    const late = (async () => {
      await undefined
      void (async () => {
        for (; links < 5_000; links++) await undefined
      })()
      await host.quiesce()
      return links
    })()
    await first
    expect(await late).toBe(5_000)
  })

  test('quiesce in a loop costs microseconds, not the 4 ms of a nested timer, and lets timers run', async () => {
    let ticks = 0
    const timer = setInterval(() => ticks++, 5)
    const turns = 20_000
    const from = performance.now()
    for (let i = 0; i < turns; i++) await host.quiesce()
    const ms = performance.now() - from
    clearInterval(timer)
    console.info(`quiesce: ${((ms * 1000) / turns).toFixed(1)} µs a turn, ${ticks} ticks of 5 ms in ${ms.toFixed(0)} ms`)
    const nested = performance.now()
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setTimeout(resolve, 0))
    // Against the machine's own speed at this moment: other tests may be running beside it.
    expect(ms / turns).toBeLessThan((performance.now() - nested) / 50 / 8)
    expect(ticks).toBeGreaterThan(0)
  })

  describe('timer', () => {
    afterEach(() => void vi.restoreAllMocks())

    test('a time longer than setTimeout can carry is armed in parts and fires once, not at once', () => {
      const armed: { ms: number; run: () => void }[] = []
      vi.spyOn(globalThis, 'setTimeout').mockImplementation(((run: () => void, ms: number) => armed.push({ run, ms })) as never)
      let fired = 0
      createBrowserHost().timer(100 * 86_400_000, () => fired++)
      const parts: number[] = []
      for (let next = armed.shift(); next !== undefined; next = armed.shift()) {
        expect(fired).toBe(0)
        parts.push(next.ms)
        next.run()
      }
      expect(fired).toBe(1)
      expect(Math.max(...parts)).toBeLessThanOrEqual(2 ** 31 - 1)
      expect(parts.reduce((sum, ms) => sum + ms, 0)).toBe(100 * 86_400_000)
      expect(parts.length).toBe(5)
    })

    test('the limit is a parameter: with 20 ms, a timer of 70 ms takes four parts and still fires once, after 70 ms', async () => {
      const from = performance.now()
      await new Promise<void>((resolve) => createBrowserHost({ maxTimerMs: 20 }).timer(70, resolve))
      expect(performance.now() - from).toBeGreaterThanOrEqual(69)
    })

    test('a cancelled timer does not fire, also between two parts', async () => {
      let fired = 0
      const timer = createBrowserHost({ maxTimerMs: 10 }).timer(60, () => fired++)
      await new Promise((resolve) => setTimeout(resolve, 25))
      timer.cancel()
      await new Promise((resolve) => setTimeout(resolve, 80))
      expect(fired).toBe(0)
    })
  })

  test('random gives fresh bytes', () => {
    const [a, b] = [host.random(16), host.random(16)]
    expect(a).toHaveLength(16)
    expect(a).not.toEqual(b)
  })

  test('log records go to the console by level, or to onLog; a listener that throws harms nobody', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    host.log({ level: 'warn', runId: 'r-1', key: 'charge', message: 'slow', data: { ms: 3 } })
    expect(warn).toHaveBeenCalledWith('stepwell r-1 charge: slow', { ms: 3 })
    const error = vi.spyOn(console, 'error').mockImplementation(() => {})
    const failing = createBrowserHost({ onLog: () => { throw new Error('no') } })
    expect(() => failing.log({ level: 'info', runId: 'r-1', message: 'x' })).not.toThrow()
    expect(error).toHaveBeenCalledOnce()
    warn.mockRestore()
    error.mockRestore()
  })
})
