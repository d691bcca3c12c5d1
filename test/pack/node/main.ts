import { isStepwellError, type Duration } from 'stepwell'
import { remote } from 'stepwell/client'
import { createMemoryShelf, TestHost, TestRuns } from 'stepwell/testing'
import { hello } from './hello.js'

const second: Duration = '1 second'
const client = remote<readonly [typeof hello]>({ url: 'http://localhost' })
if (typeof client.start !== 'function' || isStepwellError(second)) throw new Error('the client is not what it should be')

const shelf = createMemoryShelf()
const host = new TestHost({ quiesce: () => new Promise((done) => setImmediate(done)) })
const runs = new TestRuns({
  host, open: (id) => shelf.open(id), workflows: [hello], services: { greet: async (name: string) => `Hello ${name}` },
})
const { output } = await runs.run(hello, { name: 'Node' })
console.log(JSON.stringify(output))
