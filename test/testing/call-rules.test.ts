// What the explorer holds against the calls of a run: each rule is broken once.

import { expect, test } from 'vitest'
import { encode } from '../../src/codec.ts'
import { decodeEntry, encodeEntry, type EntryKind, GENESIS } from '../../src/journal/entry.ts'
import { CallRules, type Execution } from '../../src/testing/call-rules.ts'

class Story {
  readonly rules = new CallRules()
  #hash = GENESIS
  #seq = 0
  at = 1

  commit(kind: EntryKind, options: { readonly key?: string; readonly payload?: unknown; readonly attempt?: number; readonly generation?: number } = {}): this {
    const { key, payload, attempt, generation = 1 } = options
    const { bytes, hash } = encodeEntry(++this.#seq, {
      kind, generation, host: 'test', at: this.at, calls: 0, ...(attempt === undefined ? undefined : { attempt }),
      ...(key === undefined ? undefined : { key, fingerprint: new Uint8Array(16) }), ...(payload === undefined ? undefined : { payload: encode(payload) }),
    }, this.#hash)
    this.rules.committed(decodeEntry(this.#seq, bytes, this.#hash))
    this.#hash = hash
    return this
  }

  intend(idempotencyKey = 'k'): this {
    return this.commit('effect_intended', { key: 'e', payload: { idempotencyKey } })
  }

  decide(decision: string): this {
    return this.commit('effect_decided', { key: 'e', payload: { decision } })
  }

  call(role: Execution['role'], options: Partial<Execution> = {}): this {
    this.rules.executed({ role, key: role === 'step' ? 's' : 'e', attempt: 1, idempotencyKey: 'k', generation: 1, process: 1, ...options })
    return this
  }

  ended(crashes = 0): string | undefined {
    this.rules.ended(crashes)
    return this.rules.violation?.message
  }
}

const begun = (): Story => new Story().commit('run_started')

test.each<readonly [string, (story: Story) => string | undefined, string | undefined]>([
  ['one call of each', (s) => s.call('step').commit('step_completed', { key: 's' }).intend().call('effect').commit('effect_completed', { key: 'e' }).commit('run_completed').ended(), undefined],
  ['a step again after a crash', (s) => s.call('step').call('step', { process: 2 }).commit('step_completed', { key: 's' }).ended(1), undefined],
  ['a step again without a crash', (s) => s.call('step').call('step', { process: 2 }).ended(), 'called 2 times with 0 crashes'],
  ['a step twice by one process', (s) => s.call('step').call('step').ended(1), 'called twice by one process'],
  ['a step after its outcome', (s) => s.call('step').commit('step_completed', { key: 's' }).call('step', { process: 2 }).ended(1), 'called after its outcome'],
  ['an attempt after its failure', (s) => s.call('step').commit('attempt_failed', { key: 's', attempt: 1 }).call('step', { process: 2 }).ended(1), 'called after its failure'],
  ['a failure twice', (s) => s.commit('attempt_failed', { key: 's', attempt: 1 }).commit('attempt_failed', { key: 's', attempt: 1 }).ended(), 'recorded twice'],
  ['two outcomes', (s) => s.commit('step_completed', { key: 's' }).commit('step_failed', { key: 's' }).ended(), 's has two outcomes'],
  ['two keys of one step', (s) => s.call('step').call('step', { process: 2, idempotencyKey: 'other' }).ended(1), 'two idempotency keys'],
  ['one key of two steps', (s) => s.call('step').call('step', { key: 't' }).ended(), 'two steps have one idempotency key'],
  ['something after the end', (s) => s.commit('run_completed').commit('step_completed', { key: 's' }).ended(), 'committed after run_completed'],
  ['time that goes back', (s) => { s.at = 0; return s.commit('step_completed', { key: 's' }).ended() }, 'older than the one before'],
  ['an effect without an intent', (s) => s.call('effect').ended(), 'called 1 times with 0 intents'],
  ['an effect under another key than intended', (s) => s.intend().call('effect', { idempotencyKey: 'other' }).ended(), 'called 1 times with 0 intents'],
  ['an effect twice for one intent', (s) => s.intend().call('effect').call('effect', { process: 2 }).ended(1), 'called 2 times with 1 intents'],
  ['an effect intended again and not decided', (s) => s.intend().call('effect').intend().call('effect', { process: 2 }).ended(1), 'no known failure and no decision'],
  ['an effect that was skipped', (s) => s.intend().call('effect').decide('skip').intend().call('effect', { process: 2 }).ended(1), 'no known failure and no decision'],
  ['an effect that is run again by a decision', (s) => s.intend().call('effect').decide('rerun').intend().call('effect', { process: 2 }).ended(1), undefined],
  ['an effect that did not happen', (s) => s.intend().call('effect').decide('did_not_happen').intend().call('effect', { process: 2 }).ended(1), undefined],
  ['an effect that failed', (s) => s.intend().call('effect').commit('effect_attempt_failed', { key: 'e' }).intend().call('effect').ended(), undefined],
  ['an effect after its outcome', (s) => s.intend().call('effect').commit('effect_completed', { key: 'e' }).intend().call('effect', { process: 2 }).ended(1), 'called after its outcome'],
  ['a decision in the next generation', (s) => s.intend().call('effect').commit('generation_started', { generation: 2 })
    .commit('effect_decided', { key: 'e', generation: 2, payload: { decision: 'rerun' } }).intend().call('effect', { generation: 2 }).ended(), undefined],
  ['a probe', (s) => s.intend().call('effect').call('probe', { process: 2 }).ended(1), undefined],
  ['a probe without an intent', (s) => s.call('probe').ended(), 'there is no intent'],
  ['a probe after the outcome', (s) => s.intend().call('effect').commit('effect_completed', { key: 'e' }).call('probe').ended(), 'probe of e was called after'],
  ['an undo', (s) => s.commit('undo_intended', { key: 'e' }).call('undo', { idempotencyKey: 'u' }).commit('undo_completed', { key: 'e' }).ended(), undefined],
  ['an undo without an intent', (s) => s.call('undo').ended(), 'undo of e was called 1 times with 0 intents'],
  ['an undo after it was done', (s) => s.commit('undo_intended', { key: 'e' }).call('undo').commit('undo_completed', { key: 'e' }).commit('undo_intended', { key: 'e' }).call('undo').ended(), 'after it was committed as done'],
])('G2, G12, G13: %s', (_, play, violation) => {
  const found = play(begun())
  if (violation === undefined) expect(found).toBeUndefined()
  else expect(found).toContain(violation)
})
