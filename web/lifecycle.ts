// What the browser tells a page about its life. Works in workers too, where only some of these events exist.

export interface LifecycleListener {
  /** Time may have passed without us: compare due times with the clock. */
  readonly onLook: () => void
  /** The page is going away, or into the back/forward cache, where locks and connections must not go with it. */
  readonly onHide: () => void
  /** It came back out of that cache: whatever was read before may have changed. */
  readonly onShow: () => void
}

/** Listens until the returned function is called. */
export function listenToLifecycle({ onLook, onHide, onShow }: LifecycleListener): () => void {
  const controller = new AbortController()
  const options = { signal: controller.signal }
  const look = (): void => {
    if (typeof document === 'undefined' || document.visibilityState === 'visible') onLook()
  }
  for (const type of ['focus', 'online']) addEventListener(type, onLook, options)
  addEventListener('pagehide', onHide, options)
  addEventListener('pageshow', (event) => {
    if ((event as PageTransitionEvent).persisted) onShow()
    else onLook()
  }, options)
  if (typeof document !== 'undefined') {
    document.addEventListener('visibilitychange', look, options)
    document.addEventListener('resume', onLook, options)
  }
  return () => controller.abort()
}
