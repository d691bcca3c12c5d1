import { allowLocalhost, edge } from 'stepwell/worker'
import { hello } from './hello.ts'

const well = edge({
  workflows: [hello],
  services: () => ({ greet: async (name: string) => `Hello ${name}` }),
  authorize: allowLocalhost,
})

export const Run = well.Run
export default well.app
