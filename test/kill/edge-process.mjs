// One life of the example's edge, as a process of its own: workerd behind it can be killed with all that it has in memory.
// It is started ahead of its life, because loading wrangler takes longer than anything after it: the life begins with one JSON
// line on its input, and when it serves it prints one: the address and workerd's process ids.
import { execFileSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { unstable_startWorker } from 'wrangler'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const { config, persist, vars } = JSON.parse((await lines.next()).value)
const worker = await unstable_startWorker({
  config,
  bindings: Object.fromEntries(Object.entries(vars).map(([name, value]) => [name, { type: 'plain_text', value }])),
  dev: { server: { hostname: '127.0.0.1', port: 0 }, persist, logLevel: 'error', watch: false, inspector: false },
})
await worker.ready
const url = await worker.url
// `ready` comes when wrangler's own proxy serves; the worker itself runs in another workerd, which is there when it has answered.
await (await fetch(new URL('/v1/healthz', url))).text()

const children = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,comm='], { encoding: 'utf8' }).split('\n')
  .map((line) => line.trim().split(/\s+/))
  .filter(([, parent, name]) => Number(parent) === process.pid && name === 'workerd')
  .map(([pid]) => Number(pid))
console.log(JSON.stringify({ url: url.href, workerd: children }))
