// What a worker needs to run workflows on Durable Objects.
export { edge } from 'stepwell/worker'
