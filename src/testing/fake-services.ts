// Fakes of what a host lends to steps, typed by the workflows themselves: one that lacks a service or a method does not compile.

import type { ServicesOf } from '../context.ts'
import type { AnyWorkflow, WorkflowServices } from '../define.ts'

type Intersection<U> = (U extends unknown ? (x: U) => void : never) extends (x: infer I) => void ? I : never

/** Everything that the workflows `W` may ask for: a test host runs the calls of every `at`. */
export type FakeServices<W extends AnyWorkflow> =
  Intersection<W extends AnyWorkflow ? ServicesOf<WorkflowServices<W>, 'edge'> & ServicesOf<WorkflowServices<W>, 'browser'> : never>

/** The fakes as they are, checked by the compiler against what `workflow` has declared. */
export function fakeServices<W extends AnyWorkflow, F extends FakeServices<W>>(_workflow: W, fakes: F): F {
  return fakes
}
