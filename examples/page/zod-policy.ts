// Imported before anything that makes a schema. zod tries `new Function` for schemas of objects, and falls back when it may not:
// under this page's policy the try alone is a violation, which the console shows in red.

import { config } from 'zod'

config({ jitless: true })
