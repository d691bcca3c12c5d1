// Lets the page open without a network. It holds the files of the page and nothing else: runs are in IndexedDB, driven by the page.
const cacheName = 'stepwell-example-page'

/** Stores the page and the files that it names. */
async function store() {
  const cache = await caches.open(cacheName)
  const page = await fetch('/', { cache: 'no-cache' })
  const files = [...(await page.clone().text()).matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path]) => path)
  await cache.addAll([...new Set(files)])
  await cache.put('/', page)
}

/** The newest page when there is a network, else the stored one. Its files have their content in their names, so a stored one is right. */
async function answer(request) {
  const { pathname } = new URL(request.url)
  const cache = await caches.open(cacheName)
  const stored = await cache.match(pathname)
  if (request.mode !== 'navigate') return stored ?? fetch(request)
  try {
    return await fetch(request)
  } catch (error) {
    if (stored) return stored
    throw error
  }
}

self.addEventListener('install', (event) => {
  event.waitUntil(store().then(() => self.skipWaiting()))
})
self.addEventListener('activate', (event) => {
  event.waitUntil(self.clients.claim())
})
self.addEventListener('fetch', (event) => {
  const { method, mode, url } = event.request
  const { origin, pathname } = new URL(url)
  const isOurs = origin === self.location.origin && (pathname === '/' || pathname.startsWith('/assets/') || pathname === '/icon.svg')
  if (method === 'GET' && isOurs && (mode === 'navigate' || pathname !== '/')) event.respondWith(answer(event.request))
})
