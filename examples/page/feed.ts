// Keeps what the page shows of the runs of one host up to date: asks the client, again when it is told that something changed,
// and every now and then by itself. The page never guesses: what it shows was read from the run.

import { type BlobRef, type Client, type EntryView, isStepwellError, type RunSummary } from 'stepwell'
import type { approval } from '../approval/approval.ts'
import type { digest } from '../digest/digest.ts'
import type { order } from '../order/order.ts'
import type { RunRef, Workflow } from './keep.ts'
import type { Control } from './run-card.ts'
import { type Seen, seenKey } from './timeline.ts'

export type Flow = typeof order | typeof digest | typeof approval
export type ApprovalRequest = NonNullable<(typeof approval)['types']>['input']
export type OrderRequest = NonNullable<(typeof order)['types']>['input']

export interface RunState extends RunRef {
  summary: RunSummary | undefined
  /** Read only while the run is open on the page. */
  readonly entries: EntryView[]
  readonly seen: Map<string, number> & Seen
  /** Why it could not be read last time. */
  problem: unknown
}

export interface Source {
  readonly where: 'browser' | 'edge'
  readonly client: Client<Flow>
  /** Newest first. */
  list(): Promise<readonly RunRef[]>
  /** A run was started here. */
  started(run: RunRef): void
  /** A run is no longer there. */
  lost(id: string): void
  /** Calls back with the ids of runs that may have changed; none: any. */
  subscribe?(changed: (ids: readonly string[]) => void): () => void
  /** How long until a run that goes on is asked about again. */
  readonly pollMs: number
}

const PAGE = 500
const UNREACHABLE_MS = 3000

export class Feed {
  readonly source: Source
  readonly runs = new Map<string, RunState>()
  #changed: (run: RunState | undefined) => void
  #open = new Set<string>()
  #busy = new Set<string>()
  #again = new Set<string>()
  #timers = new Map<string, ReturnType<typeof setTimeout>>()

  /** `changed` gets the run that changed, or undefined when the list did. */
  constructor(source: Source, changed: (run: RunState | undefined) => void) {
    this.source = source
    this.#changed = changed
    source.subscribe?.((ids) => {
      if (ids.length === 0) void this.load()
      for (const id of ids) void (this.runs.has(id) ? this.refresh(id) : this.load())
    })
    document.addEventListener('visibilitychange', () => this.#look())
    window.addEventListener('online', () => this.#look())
  }

  /** Newest first. */
  get list(): RunState[] {
    const at = ({ summary }: RunState): number => summary?.createdAt ?? Infinity
    return [...this.runs.values()].sort((a, b) => (at(a) === at(b) ? 0 : at(b) - at(a)))
  }

  async load(): Promise<void> {
    const found = await this.source.list()
    const fresh = found.filter(({ id }) => !this.runs.has(id))
    for (const { id, workflow } of fresh) this.#add(id, workflow)
    if (fresh.length > 0) this.#changed(undefined)
    await Promise.all(found.map(({ id }) => this.refresh(id)))
  }

  async startOrder(input: OrderRequest): Promise<{ id: string; created: boolean }> {
    // The order number is the token: the same order sent twice is one order (G23).
    const run = await this.source.client.start('order', input, { token: input.orderId })
    return this.#adopt({ id: run.id, workflow: 'order' }, run.created !== false)
  }

  /** The files are stored beside the run before it starts; from then on the page may go. */
  async startDigest(
    files: readonly File[], chunkBytes: number, progress: (bytes: number, of: number) => void,
  ): Promise<{ id: string; created: boolean }> {
    const { client } = this.source
    const id = `digest-${crypto.randomUUID()}`
    const total = files.reduce((sum, file) => sum + file.size, 0)
    const stored: { name: string; type: string; blob: BlobRef }[] = []
    let before = 0
    for (const file of files) {
      const blob = await client.putBlob(id, file, { progress: (bytes) => progress(before + bytes, total) })
      stored.push({ name: file.name, type: file.type, blob })
      before += file.size
    }
    const run = await client.start('digest', { files: stored, chunkBytes }, { id })
    return this.#adopt({ id: run.id, workflow: 'digest' }, run.created !== false)
  }

  async startApproval(request: ApprovalRequest): Promise<{ id: string; created: boolean }> {
    const run = await this.source.client.start('approval', request)
    return this.#adopt({ id: run.id, workflow: 'approval' }, run.created !== false)
  }

  async cancel(id: string): Promise<void> {
    const run = this.runs.get(id)
    if (run === undefined) return
    await this.source.client.get(run.workflow, id).cancel({ reason: 'cancelled on the page', undo: true })
    await this.refresh(id)
  }

  async control(id: string, what: Control): Promise<void> {
    const known = this.runs.get(id)
    if (known === undefined) return
    const run = this.source.client.get(known.workflow, id)
    if (typeof what === 'object' && 'decision' in what) await this.source.client.get('approval', id).signal('decide', what.decision, { id: what.id })
    else if (typeof what === 'object') await run.resolve(what.seq, what.resolution)
    else await run[what]()
    await this.refresh(id)
  }

  /** While a run is open its journal is read as well. */
  setOpen(id: string, isOpen: boolean): void {
    if (isOpen) this.#open.add(id)
    else this.#open.delete(id)
    if (isOpen) void this.refresh(id)
  }

  /** Reads a run again; joined with what is asked meanwhile. Never rejects: what goes wrong is shown. */
  async refresh(id: string): Promise<void> {
    const run = this.runs.get(id)
    if (run === undefined) return
    if (this.#busy.has(id)) {
      this.#again.add(id)
      return
    }
    this.#busy.add(id)
    clearTimeout(this.#timers.get(id))
    try {
      do {
        this.#again.delete(id)
        await this.#read(run)
      } while (this.#again.has(id))
      run.problem = undefined
    } catch (error) {
      if (isStepwellError(error) && (error.code === 'run_not_found' || error.code === 'run_swept')) {
        this.#busy.delete(id)
        this.#remove(id)
        return
      }
      run.problem = error
    }
    this.#busy.delete(id)
    this.#changed(run)
    this.#plan(run)
  }

  async #read(run: RunState): Promise<void> {
    const handle = this.source.client.get(run.workflow, run.id)
    const summary = await handle.status()
    for (const { key, attempt, startedAt } of summary.steps ?? []) {
      const id = seenKey(key, attempt)
      if (!run.seen.has(id)) run.seen.set(id, startedAt)
    }
    // The summary also when the journal can't be read: a damaged run is blocked, and says so. The journal is never older.
    run.summary = summary
    while (this.#open.has(run.id) && (run.entries.at(-1)?.seq ?? 0) < summary.counts.entries) {
      const { items } = await handle.journal({ after: run.entries.at(-1)?.seq ?? 0, limit: PAGE, reveal: true })
      if (items.length === 0) break
      run.entries.push(...items)
    }
  }

  #plan(run: RunState): void {
    const { summary, problem } = run
    if (document.hidden || (summary?.endedAt !== undefined && problem === undefined)) return
    const dueAt = Math.min(...(summary?.waitingFor ?? []).map((waiting) => waiting.dueAt ?? Infinity))
    const idle = summary?.status === 'waiting' ? Math.min(30_000, Math.max(this.source.pollMs, dueAt - Date.now())) : this.source.pollMs
    this.#timers.set(run.id, setTimeout(() => void this.refresh(run.id), problem === undefined ? idle : UNREACHABLE_MS))
  }

  #look(): void {
    if (document.hidden) return
    for (const { id, summary } of this.runs.values()) if (summary?.endedAt === undefined) void this.refresh(id)
  }

  #adopt(ref: RunRef, created: boolean): { id: string; created: boolean } {
    this.source.started(ref)
    if (!this.runs.has(ref.id)) {
      this.#add(ref.id, ref.workflow)
      this.#changed(undefined)
    }
    void this.refresh(ref.id)
    return { id: ref.id, created }
  }

  #add(id: string, workflow: Workflow): void {
    this.runs.set(id, { id, workflow, summary: undefined, entries: [], seen: new Map(), problem: undefined })
  }

  #remove(id: string): void {
    this.runs.delete(id)
    this.source.lost(id)
    this.#changed(undefined)
  }
}
