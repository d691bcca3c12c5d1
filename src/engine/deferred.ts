// A value that somebody outside settles, with a token. A deferred is a channel of its own among the signals (signal.ts), into which one message
// goes; whoever sends it must hold a token that a step of the run was given. Of a token the run keeps its hash alone (G20).

import type { Settlement, SignalOutcome } from '../client.ts'
import { canonicalBytes, copy, encode } from '../codec.ts'
import type { Deferred, SignalOptions } from '../context.ts'
import type { Registry } from '../define.ts'
import { toMs } from '../duration.ts'
import { type ErrorDetails, StepwellError } from '../errors.ts'
import { given, needed } from '../given.ts'
import { hashParts, hex } from '../hash.ts'
import { decodeRecord, type RunRecord } from '../journal/record.ts'
import { type Limits, within } from '../limits.ts'
import { validate } from '../schema.ts'
import { rowsUpTo } from '../store/batch.ts'
import type { RunStore } from '../store/store.ts'
import type { Pending } from './call.ts'
import { type KeepHost, openValue, sealValue, writeKept } from './kept.ts'
import { checkName, type Scope } from './key.ts'
import { notFound } from './post.ts'
import { definitionOf, send, type Sender } from './send.ts'
import { waitingCall } from './signal.ts'

const PREFIX = 'deferred:'
const TOKEN_BYTES = 32

export const deferredChannel = (id: string): string => PREFIX + id

interface TokenRow {
  /** All of it: the row is found by the first half. */
  readonly hash: Uint8Array
  readonly id: string
  /** Which schema its value has. */
  readonly name: string
  readonly at: number
}

class DeferredHandle implements Deferred<unknown> {
  readonly id: string
  readonly name: string
  readonly #ask: (timeoutMs: number | undefined) => Promise<unknown>
  #asked: Promise<unknown> | undefined

  constructor(id: string, name: string, ask: (timeoutMs: number | undefined) => Promise<unknown>) {
    this.id = id
    this.name = name
    this.#ask = ask
  }

  value(options?: SignalOptions): Promise<never> {
    const { timeout }: SignalOptions = given(options, 'the options of a wait')
    const ms = timeout === undefined ? undefined : toMs(timeout, `timeout of deferred ${this.name}`)
    return (this.#asked ??= this.#ask(ms)) as Promise<never>
  }
}

/** Throws `invalid_argument` for one that the workflow does not declare. `ask` makes the call, when it is waited for. */
export function createDeferred(
  limits: Limits, scope: Scope, deferreds: Readonly<Record<string, unknown>>, workflow: string, name: unknown, ask: (call: () => Pending) => Promise<unknown>,
): Deferred<unknown> {
  checkName(limits, name, 'deferred')
  if (!Object.hasOwn(deferreds, name as string)) throw new StepwellError('invalid_argument', `workflow ${workflow} declares no deferred ${JSON.stringify(name)}`)
  const { key } = scope.next(PREFIX + String(name), undefined)
  // As the journal's key without the word: a deferred of the function itself is known by its name.
  const id = scope.path + key.slice(scope.path.length + PREFIX.length)
  return new DeferredHandle(id, name as string, (timeoutMs) => ask(() => waitingCall(scope, 'deferred', key, deferredChannel(id), timeoutMs)))
}

/**
 * A new token for `deferred`, of 32 random bytes as hex. Its hash is durable when this resolves, so that whoever gets the token can use it;
 * earlier ones stay as good. After a crash the step asks again, and gets another one.
 */
export async function issueToken(host: KeepHost, deferred: unknown, over: () => StepwellError | undefined, step: string): Promise<string> {
  if (!(deferred instanceof DeferredHandle)) throw new StepwellError('invalid_argument', 'token takes what ctx.deferred() gave')
  const { store, limits } = host
  const { id, name } = deferred
  within(limits, 'tokens', await rowsUpTo(store, 'token', limits.tokens) + 1, `run ${store.runId}: tokens`)
  const token = hex(host.host.random(TOKEN_BYTES))
  const hash = tokenHash(store.runId, id, token)
  const key = keyOf(hash)
  const row: TokenRow = { hash, id, name, at: host.host.now() }
  await writeKept(host, { table: 'token', key, value: sealValue(key, encode(row)) }, `a token of step ${step}`, over, 'strict')
  return token
}

/**
 * Settles the deferred `id`, for good: the first that has a token decides, also when the run asks for it much later. The same again is
 * `duplicate`. Durable when it resolves. Throws `invalid_token` for a token that was not issued for this deferred of this run, and tells
 * nothing else to whoever has none; `already_resolved` when it was settled otherwise, `input_invalid`, `already_ended`, `limit_exceeded`.
 */
export async function settleDeferred(sender: Sender, registry: Registry, id: string, token: string, settlement: Settlement): Promise<SignalOutcome> {
  const { store } = sender
  if (typeof id !== 'string' || typeof token !== 'string') throw new StepwellError('invalid_argument', 'a deferred is named by a string, and so is its token')
  const { name, record } = await known(store, id, token)
  const definition = definitionOf(registry, record, store)
  const { isError, given: raw } = settled(settlement)
  return send(sender, {
    channel: deferredChannel(id), receipt: hex(hashParts('stepwell.deferred', id)), digest: hex(hashParts('stepwell.deferred', isError ? 1 : 0, canonicalBytes(raw))),
    mismatch: () => new StepwellError('already_resolved', `run ${store.runId}: the deferred ${JSON.stringify(id)} was settled otherwise`),
    value: async () => isError ? errorOf(raw) : copy(await validate(definition.deferreds[name], raw, 'input_invalid', `the value of deferred ${JSON.stringify(id)}`)).value,
    ...(isError ? { isError } : undefined),
  })
}

async function recordOf(store: RunStore): Promise<RunRecord> {
  const row = await store.read()
  if (row === undefined) throw notFound(store)
  return decodeRecord(row)
}

/** Whose token it is. Every wrong one is told the same, whatever is wrong with it. */
async function known(store: RunStore, id: string, token: string): Promise<{ readonly name: string; readonly record: RunRecord }> {
  const record = await recordOf(store)
  const hash = tokenHash(store.runId, id, token)
  const key = keyOf(hash)
  const bytes = await store.row('token', key)
  const row = bytes === undefined ? undefined : openValue(key, bytes) as TokenRow
  if (row === undefined || !isEqual(row.hash, hash) || row.id !== id) throw new StepwellError('invalid_token', `run ${store.runId}: this token settles no deferred ${JSON.stringify(id.slice(0, 80))}`)
  return { name: row.name, record }
}

function tokenHash(runId: string, id: string, token: string): Uint8Array {
  return hashParts('stepwell.token', runId, id, token)
}

const keyOf = (hash: Uint8Array): string => hex(hash.subarray(0, 16))

/** In a time that does not depend on where they differ. */
function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length
  for (let i = 0; i < b.length; i++) difference |= (a[i] as number) ^ (b[i] as number)
  return difference === 0
}

function settled(settlement: Settlement): { readonly isError: boolean; readonly given: unknown } {
  const both = needed(settlement, 'the settlement')
  const isError = 'error' in both && both.error !== undefined
  if (isError && 'value' in both && both.value !== undefined) throw new StepwellError('invalid_argument', 'a deferred is settled with a value or with an error')
  if (!isError) return { isError, given: copy((both as { readonly value?: unknown }).value).value }
  const { error } = both as { readonly error: unknown }
  const { message, details }: { readonly message?: unknown; readonly details?: unknown } = typeof error === 'string' ? { message: error } : needed(error as object, 'the error')
  if (typeof message !== 'string' || message.length > MAX_MESSAGE) throw new StepwellError('invalid_argument', `the error of a settlement has a message of at most ${MAX_MESSAGE} characters`)
  if (details !== undefined) needed(details as object, 'the details of the error')
  return { isError, given: copy({ message, details }).value }
}

const MAX_MESSAGE = 1024

function errorOf(raw: unknown): StepwellError {
  const { message, details } = raw as { readonly message: string; readonly details: ErrorDetails | undefined }
  return new StepwellError('rejected', message, details === undefined ? {} : { details })
}
