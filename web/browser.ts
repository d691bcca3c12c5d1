// The browser host: opens a database of runs, resumes what is not ended, and gives the client interface over it.

import type { Client } from '../src/client.ts'
import type { Services, ServicesOf } from '../src/context.ts'
import { type AnyWorkflow, registry, type WorkflowServices } from '../src/define.ts'
import { type Duration, toMs } from '../src/duration.ts'
import type { OnEnd } from '../src/engine/notice.ts'
import { knownPrincipal } from '../src/engine/post.ts'
import { isExpired, isOwing } from '../src/engine/sweep.ts'
import { isStepwellError, type Redact, StepwellError } from '../src/errors.ts'
import { given, givenFunction, needed, neededFunction } from '../src/given.ts'
import type { LogRecord } from '../src/host.ts'
import { decodeRecord } from '../src/journal/record.ts'
import { type Limits, limits as withDefaults } from '../src/limits.ts'
import type { RunSummary } from '../src/journal/summary.ts'
import type { Shelf } from '../src/store/store.ts'
import { Bells } from './bells.ts'
import { createBrowserClient, summarize } from './client.ts'
import { type Database, type Lost, openDatabase } from './database.ts'
import { Drives } from './drives.ts'
import { Hints } from './hints.ts'
import { createBrowserHost } from './host.ts'
import { createIdbShelf } from './idb-store.ts'
import { listenToLifecycle } from './lifecycle.ts'
import { createRunLocks, type LockApi } from './locks.ts'

type Both<U> = (U extends unknown ? (of: U) => void : never) extends (of: infer I) => void ? I : never
type AsServices<S> = S extends Services ? S : {}

/** What a page must lend to the steps of these workflows: their `any` and their `browser` services. */
export type BrowserServices<W> = Both<W extends AnyWorkflow ? ServicesOf<AsServices<WorkflowServices<W>>, 'browser'> : never>

export type BrowserOptions<W extends readonly AnyWorkflow[]> = {
  /** Of the database: one for each user of the page, so that nobody sees the runs of another. Default: 'stepwell'. */
  readonly name?: string
  readonly workflows: W
  /** Who uses this page: kept with cancels, pauses, restarts and decisions that are asked for here. 1 to 256 characters. */
  readonly principal?: string
  /** Where runs move with `ctx.moveTo('edge')`. Kept; moving comes with a later version. */
  readonly remote?: string
  readonly limits?: Partial<Limits>
  /**
   * Masks secrets in the texts of errors (messages, details, causes) before anything of them is stored; called with each text and
   * the name of its field. In place of the default, `maskSecrets`; one that throws leaves nothing of the text.
   */
  readonly redact?: Redact
  /**
   * Told of the end of every run at least once: after it was committed, and again after a crash or when it has thrown, with a back-off
   * that is stored, `limits.noticeTries` times. The pair of `end.id` and `end.generation` names an end. Keep it short: what takes long,
   * or has to be done exactly once, is a workflow that it starts, with a token made of the two.
   */
  readonly onEnd?: OnEnd
  /**
   * Of one attempt to open the database: then it is `store_unavailable` or, held by another tab, `store_blocked`. Default:
   * 5 seconds.
   */
  readonly openTimeout?: Duration
  /** Runs that are driven at the same time. Default: 16. */
  readonly maxDrives?: number
  /** Gets every log record in place of the console. */
  readonly onLog?: (record: LogRecord) => void
} & ({} extends BrowserServices<W[number]>
  ? { readonly services?: BrowserServices<W[number]> }
  : { readonly services: BrowserServices<W[number]> })

export interface RunsOptions {
  /** The newest so many. Default: all. */
  readonly limit?: number
  /** Without input, output and error when false: those may be large. Default: true. */
  readonly values?: boolean
}

export interface StorageHealth {
  /** The browser has promised not to evict this origin. Undefined when it does not say. */
  readonly persisted: boolean | undefined
  /** Bytes of the whole origin. */
  readonly usage: number | undefined
  readonly quota: number | undefined
  /**
   * The last time that the browser threw this database away with every run in it, because it found its files damaged. Only Chromium
   * tells, a kill in the middle of a write is enough, and nothing brings the runs back. Undefined: it has not, or does not say.
   */
  readonly lost: Lost | undefined
}

export interface BrowserClient<W extends AnyWorkflow> extends Client<W> {
  readonly name: string
  readonly remote: string | undefined
  /** Newest first. */
  runs(options?: RunsOptions): Promise<RunSummary[]>
  /**
   * Calls `listener` soon after a run changed, here or in another tab: its status, its steps, their progress. An empty list:
   * any may have changed. A hint to read again; none is promised for each change.
   */
  subscribe(listener: (runIds: readonly string[]) => void): () => void
  /**
   * Ids of the runs that are removed as soon as their locks are free: ended, told, and their retention is over. Writes nothing; a run
   * of which more than its outcome is wanted can still be exported.
   */
  expired(): Promise<string[]>
  /** How safe the data is. Never asks the user anything: `navigator.storage.persist()` is the page's to call. */
  storage(): Promise<StorageHealth>
  /** Stops driving, gives all locks back, closes the database. Runs go on where they are opened next. Repeats are harmless. */
  close(): Promise<void>
  /** Closes, and deletes the database with every run in it. */
  destroy(): Promise<void>
}

const MAX_DRIVES = 16
const READS_AT_ONCE = 50
const PAGE = 1000

/**
 * Opens the runs of `name` and goes on with all that are not ended: due timers first, then what was cut off in the middle.
 * Resolves when the database is open, not when they are done. In several tabs each run is driven by one of them; when that
 * tab goes, by another, and when it freezes, after `limits.recoveryMs`. Throws `store_unavailable`, `store_blocked`, `format_too_new`, `quota_exceeded`, `invalid_argument`.
 */
export async function browser<const W extends readonly AnyWorkflow[]>(
  options: BrowserOptions<W>,
): Promise<BrowserClient<W[number]>> {
  const { name = 'stepwell', maxDrives = MAX_DRIVES } = needed(options, 'the options of browser()')
  if (typeof name !== 'string' || name === '') throw new StepwellError('invalid_argument', 'name is a string that is not empty')
  if (!Number.isSafeInteger(maxDrives) || maxDrives < 1) {
    throw new StepwellError('invalid_argument', 'maxDrives is a whole number from 1')
  }
  given(options.services as object | undefined, 'services')
  for (const hook of ['redact', 'onEnd', 'onLog'] as const) givenFunction(options[hook], hook)
  if (options.remote !== undefined && typeof options.remote !== 'string') throw new StepwellError('invalid_argument', 'remote is the URL of an API')
  const principal = knownPrincipal(options.principal)
  const workflows = registry(options.workflows)
  // A page is reloaded by its user, as often as it pleases: here many wakes without an entry are no sign of a broken run.
  const limits = withDefaults({ wakes: 1000, ...given(options.limits, 'limits') })
  const host = createBrowserHost({ onLog: options.onLog })
  const database = await openDatabase({
    name, ...(options.openTimeout === undefined ? undefined : { openTimeoutMs: toMs(options.openTimeout, 'openTimeout') }),
    onLost: ({ reason }) => host.log({
      level: 'error', runId: '*', message: `the browser has thrown the database ${name} away, with every run in it, and made an empty one: ${reason}`,
    }),
  })
  const shelf = createIdbShelf(database)

  const api: LockApi | undefined = (navigator as Partial<Navigator>).locks
  if (api === undefined) {
    const message = 'no Web Locks here (an old browser, or no HTTPS): tabs may repeat each other\'s steps, but never both write'
    host.log({ level: 'warn', runId: '*', message })
  }
  const hints = new Hints(name)
  const bells = new Bells(host, hints)
  const drives = new Drives({
    database: name, shelf, host, registry: workflows, services: options.services ?? {}, limits, redact: options.redact, onEnd: options.onEnd, hints, maxDrives,
    locks: createRunLocks(name, api),
  })
  const unlisten = listenToLifecycle({
    onLook: () => {
      void drives.wake.look()
      bells.ringAll()
    },
    onHide: () => {
      void drives.stop()
      hints.close()
      // The next use opens it again. An open connection does not keep the page out of the cache, a lock conflict over it may.
      database.release()
    },
    onShow: () => {
      hints.open()
      void drives.open()
      bells.ringAll()
      hints.refresh()
    },
  })
  void drives.open()

  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= (async () => {
      unlisten()
      const why = `the runs of ${name} were closed in this page; they go on where they are opened next`
      bells.close(new StepwellError('store_unavailable', why))
      await drives.close()
      hints.close()
      database.close()
    })()
    return closing
  }
  const client = {
    ...createBrowserClient({ shelf, host, registry: workflows, limits, drives, hints, bells, principal }),
    name, remote: options.remote,
    runs: async (runsOptions?: RunsOptions) => listRuns(shelf, drives, given(runsOptions)),
    subscribe: (listener: (runIds: readonly string[]) => void) => {
      neededFunction(listener, 'the listener')
      return hints.listen(({ runIds }) => listener(runIds))
    },
    expired: () => expired(shelf, host.now()),
    storage: () => storageHealth(database),
    close,
    async destroy() {
      await close()
      await database.destroy()
    },
  }
  // The client was made for any workflow; its types come from the definitions.
  return client as unknown as BrowserClient<W[number]>
}

async function idsOf(shelf: Shelf): Promise<string[]> {
  const ids: string[] = []
  for (let after = ''; ;) {
    const page = await shelf.runs({ after, limit: PAGE })
    ids.push(...page)
    if (page.length < PAGE) return ids
    after = page.at(-1) as string
  }
}

async function listRuns(shelf: Shelf, drives: Drives, options: RunsOptions): Promise<RunSummary[]> {
  const { limit = Infinity } = options
  if (limit !== Infinity && !(Number.isSafeInteger(limit) && limit >= 0)) throw new StepwellError('invalid_argument', 'limit is a whole number from 0')
  const found = (await inParts(await idsOf(shelf), async (id) => ({ id, at: await createdAt(shelf, id) }))).filter(isThere)
  found.sort((a, b) => b.at - a.at || (a.id < b.id ? -1 : 1))
  const summaries = await inParts(found.slice(0, limit), async ({ id }) => {
    try {
      return [await summarize(shelf.open(id), drives, options)]
    } catch (error) {
      // Removed meanwhile, or damaged: that one only, the others are shown.
      if (isStepwellError(error, 'run_not_found') || isStepwellError(error, 'run_swept')) return []
      if (isStepwellError(error) && error.kind === 'integrity') return [damaged(id, error)]
      throw error
    }
  })
  return summaries.flat()
}

interface Dated {
  readonly id: string
  readonly at: number | undefined
}

const isThere = (run: Dated): run is Dated & { readonly at: number } => run.at !== undefined

/** Undefined for one that is not there any more. */
async function createdAt(shelf: Shelf, id: string): Promise<number | undefined> {
  const row = await shelf.open(id).read()
  try {
    return row === undefined ? undefined : decodeRecord(row).createdAt
  } catch (error) {
    // Of one that is damaged its summary says what is wrong with it.
    return isStepwellError(error, 'run_swept') ? undefined : 0
  }
}

async function expired(shelf: Shelf, now: number): Promise<string[]> {
  const found = await inParts(await idsOf(shelf), async (id) => {
    const store = shelf.open(id)
    try {
      const row = await store.read()
      return row !== undefined && isExpired(decodeRecord(row), now) && !await isOwing(store) ? [id] : []
    } catch (error) {
      // Swept, damaged or of a newer version: not removed, whatever its age.
      if (isStepwellError(error, 'run_swept') || (isStepwellError(error) && error.kind === 'integrity')) return []
      throw error
    }
  })
  return found.flat()
}

function damaged(id: string, error: StepwellError): RunSummary {
  return {
    id, workflow: '', version: 0, status: 'blocked', generation: 0, authority: { host: 'browser', epoch: 0 },
    createdAt: 0, updatedAt: 0, tags: [], metadata: {}, counts: { entries: 0, messages: 0 }, waitingFor: [],
    blocked: { code: error.code, message: error.message, curable: false, tries: 1 },
  }
}

async function inParts<A, B>(all: readonly A[], work: (one: A) => Promise<B>): Promise<B[]> {
  const done: B[] = []
  for (let at = 0; at < all.length; at += READS_AT_ONCE) {
    done.push(...(await Promise.all(all.slice(at, at + READS_AT_ONCE).map(work))))
  }
  return done
}

async function storageHealth(database: Database): Promise<StorageHealth> {
  const storage = (navigator as Partial<Navigator>).storage as Partial<StorageManager> | undefined
  const [persisted, estimate, lost] = await Promise.all([
    storage?.persisted?.().catch(() => undefined),
    storage?.estimate?.().catch(() => undefined),
    database.lost().catch(() => undefined),
  ])
  return { persisted, usage: estimate?.usage, quota: estimate?.quota, lost }
}
