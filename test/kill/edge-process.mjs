// One life of the example's edge, as a process of its own: workerd behind it can be killed with all that it has in memory.
// Prints one JSON line when it serves: the address and workerd's process id. Configuration comes as one JSON argument.
import { execFileSync } from 'node:child_process'
import { unstable_startWorker } from 'wrangler'

const { config, port, persist, upstream } = JSON.parse(process.argv[2] ?? '{}')
const worker = await unstable_startWorker({
  config,
  bindings: { UPSTREAM_URL: { type: 'plain_text', value: upstream } },
  dev: { server: { hostname: '127.0.0.1', port }, persist, logLevel: 'error', watch: false, inspector: false },
})
await worker.ready
const url = await worker.url

const children = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,comm='], { encoding: 'utf8' }).split('\n')
  .map((line) => line.trim().split(/\s+/))
  .filter(([, parent, name]) => Number(parent) === process.pid && name === 'workerd')
  .map(([pid]) => Number(pid))
console.log(JSON.stringify({ url: url.href, workerd: children }))
