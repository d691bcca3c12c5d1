// What a page needs to start and read runs of the edge.
export { remote } from 'stepwell/client'
