import { isStepwellError, type Duration } from 'stepwell'
import { remote } from 'stepwell/client'
import { testHost } from 'stepwell/testing'
import { hello } from './hello.js'

const second: Duration = '1 second'
const client = remote<readonly [typeof hello]>({ url: 'http://localhost' })
if (typeof client.start !== 'function' || isStepwellError(second)) throw new Error('the client is not what it should be')

const t = testHost({ workflows: [hello], services: { greet: async (name: string) => `Hello ${name}` } })
console.log(JSON.stringify(await (await t.start(hello, { name: 'Node' })).result()))
