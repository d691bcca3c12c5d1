// The runs at the edge, over HTTP. Which ones this page started it remembers itself: the API has no list of all runs yet.

import { type Fetch, type FetchResponse, remote } from 'stepwell/client'
import type { workflows } from '../workflows.ts'
import type { Source } from './feed.ts'
import { isRunRef, Kept } from './keep.ts'

export function edgeSource(url: string): Source {
  const started = new Kept('edge-runs', isRunRef)
  // `fetch` does not say how far an upload is; the older way does.
  const uploads = new Map<string, (bytes: number) => void>()
  const send: Fetch = (target, init) => {
    const body: unknown = init.body
    const id = /\/v1\/runs\/([^/?]+)\/blobs/.exec(target)?.[1]
    if (!(body instanceof Blob) || id === undefined) return fetch(target, init)
    return upload(target, init.method, init.headers, body, (bytes) => uploads.get(decodeURIComponent(id))?.(bytes))
  }
  const client = remote<typeof workflows>({ url, fetch: send })
  return {
    where: 'edge',
    client: {
      ...client,
      async putBlob(runId, data, options = {}) {
        const of = 'size' in data && typeof data.size === 'number' ? data.size : undefined
        uploads.set(runId, (bytes) => options.progress?.(bytes, of))
        try {
          return await client.putBlob(runId, data, options)
        } finally {
          uploads.delete(runId)
        }
      },
    },
    list: async () => started.items,
    started: (run) => started.add(run, ({ id }) => id === run.id),
    lost: (lostId) => started.remove(({ id }) => id === lostId),
    pollMs: 500,
  }
}

function upload(url: string, method: string, headers: Record<string, string>, body: Blob, progress: (bytes: number) => void): Promise<FetchResponse> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open(method, url)
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value)
    request.upload.onprogress = ({ loaded }) => progress(Math.min(loaded, body.size))
    request.onload = () => resolve({ status: request.status, body: null, text: async () => request.responseText })
    // As `fetch` rejects when a request did not arrive.
    request.onerror = () => reject(new TypeError('the upload did not arrive'))
    request.send(body)
  })
}
