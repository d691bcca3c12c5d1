// What a page needs to define and run workflows.
export { workflow } from 'stepwell'
export { browser } from 'stepwell/web'
