// One Web Lock per run: who holds it drives the run in this browser. It keeps two tabs from wasting each other's work; what keeps
// a superseded one from writing is the epoch in the run row, which every commit checks (G6).

/** The part of `navigator.locks` that is used. */
export type LockApi = Pick<LockManager, 'request' | 'query'>

export interface RunLock {
  /** Gives it back. Repeats are harmless. */
  release(): void
}

export interface RunLocks {
  /**
   * Whether a free lock proves that nobody drives the run. False without the Web Locks API: then the epoch alone decides, and
   * a run counts as abandoned when its wake time has passed.
   */
  readonly areReal: boolean
  /** The lock, or undefined while another tab (or another host in this one) holds it. `onStolen`: it was taken from us. */
  take(runId: string, onStolen: () => void): Promise<RunLock | undefined>
  /** Waits until whoever holds it gives it back or dies. Undefined when `abortSignal` aborts before. */
  wait(runId: string, onStolen: () => void, abortSignal: AbortSignal): Promise<RunLock | undefined>
  /**
   * Takes it from whoever holds it: from a frozen tab, which would keep it for ever (platform fact 95) and learns of it when it thaws.
   * The epoch is what keeps that tab from writing then.
   */
  steal(runId: string, onStolen: () => void): Promise<RunLock | undefined>
  /** Names the page that holds it, if any does. */
  holder(runId: string): Promise<string | undefined>
}

/** The locks of the runs in one database. `api` undefined: there are none in this browser. */
export function createRunLocks(database: string, api: LockApi | undefined): RunLocks {
  if (api === undefined) {
    const lock: RunLock = { release: () => {} }
    return { areReal: false, take: async () => lock, wait: async () => lock, steal: async () => lock, holder: async () => undefined }
  }
  // Quoted, because a run id may contain a colon: no two pairs of database and run share a name.
  const nameOf = (runId: string): string => `stepwell:${JSON.stringify(database)}:${runId}`
  return {
    areReal: true,
    take: (runId, onStolen) => request(api, nameOf(runId), { ifAvailable: true }, onStolen),
    wait: (runId, onStolen, abortSignal) => request(api, nameOf(runId), { signal: abortSignal }, onStolen),
    steal: (runId, onStolen) => request(api, nameOf(runId), { steal: true }, onStolen),
    holder: async (runId) => (await api.query()).held?.find(({ name }) => name === nameOf(runId))?.clientId,
  }
}

function request(api: LockApi, name: string, options: LockOptions, onStolen: () => void): Promise<RunLock | undefined> {
  return new Promise((resolve, reject) => {
    let isHeld = false
    const hold = (lock: Lock | null): Promise<void> | undefined => {
      if (lock === null) {
        resolve(undefined)
        return undefined
      }
      isHeld = true
      return new Promise((release) => {
        resolve({
          release: () => {
            isHeld = false
            release()
          },
        })
      })
    }
    // After the lock is granted this promise settles when it is given back, and rejects when it is stolen.
    api.request(name, options, hold).then(undefined, (error: unknown) => {
      if (isHeld) onStolen()
      else if (options.signal?.aborted === true) resolve(undefined)
      else reject(error)
    })
  })
}
