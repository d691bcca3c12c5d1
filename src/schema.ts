// Standard Schema v1, structurally (the specification allows the interface to be copied): any validator that speaks it fits.

import { StepwellError } from './errors.ts'

export interface Schema<In = unknown, Out = In> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => Result<Out> | Promise<Result<Out>>
    readonly types?: { readonly input: In; readonly output: Out } | undefined
  }
}

export type Result<Out> =
  | { readonly value: Out; readonly issues?: undefined }
  | { readonly issues: readonly Issue[] }

export interface Issue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

export type SchemaInput<S> = S extends { '~standard': { types?: { input: infer I } | undefined } } ? I : never
export type SchemaOutput<S> = S extends { '~standard': { types?: { output: infer O } | undefined } } ? O : never

/**
 * The schema's output for `value`. Validation may be asynchronous; it happens once, before the commit, and never on replay.
 * Throws `code` with up to ten issues, each with its path; never the value itself.
 */
export async function validate(
  schema: Schema | undefined, value: unknown, code: 'input_invalid' | 'output_invalid', what: string,
): Promise<unknown> {
  if (schema === undefined) return value
  let result: Result<unknown>
  try {
    result = await schema['~standard'].validate(value)
  } catch (cause) {
    throw new StepwellError(code, `${what}: the schema itself threw`, { cause })
  }
  if (result.issues === undefined) return result.value
  const issues = result.issues.slice(0, 10).map((issue) => ({ path: pathOf(issue), message: issue.message }))
  const first = issues[0]
  const at = first === undefined ? '' : `: ${first.path} ${first.message}`
  throw new StepwellError(code, `${what} does not fit its schema${at}`, { details: { issues, count: result.issues.length } })
}

function pathOf(issue: Issue): string {
  let path = '$'
  for (const part of issue.path ?? []) {
    const key = typeof part === 'object' ? part.key : part
    path += typeof key === 'number' ? `[${key}]` : `.${String(key)}`
  }
  return path
}
