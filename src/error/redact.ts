// Secrets in the text of errors, masked before anything of an error is stored (B-073).

import { fromErrorData, toErrorData } from './data.ts'
import { type ErrorDetails, StepwellError } from './stepwell-error.ts'

/** Masks what must not be stored. `key` is the name of the field that holds the text: `message`, `name`, or a field of `details`. */
export type Redact = (text: string, key: string) => string

const MASK = '[redacted]'
const DETAILS_BYTES = 64 * 1024

const secretField = /^(?:proxy-)?authorization$|^(?:set-)?cookie$|^(?:x-)?(?:api|access|auth|private|secret)[_-]?key$|pass(?:word|wd|phrase)$|secret$|token$/i

// What is masked already is left alone: an error is masked again whenever it is thrown on.
const isMasked = String.raw`(?![\s:=\\"']*\[redacted\])`
// Quoted, quoted inside a quoted text, or up to what ends it. Also when the text was cut in the middle of it.
const value = String.raw`(?:\\"[^"\\]*(?:\\")?|"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s"'&,;)\]}]+)`
const secretName = String.raw`(?:pass(?:word|wd|phrase)|secret|token|(?:api|access|auth|private|secret)[_-]?key)`

/** Each takes time in proportion to the text, whatever the text is. */
const patterns: readonly (readonly [RegExp, string])[] = [
  // The credentials of a header, with or without its scheme, up to the end of the quotation or of the line.
  [new RegExp(String.raw`(authorization\\?["']?[ \t]*[:=]${isMasked}[ \t]*\\?["']?)[^"'\r\n,;}\]]+`, 'gi'), `$1${MASK}`],
  [new RegExp(String.raw`(cookie\\?["']?[ \t]*:${isMasked}[ \t]*\\?["']?)[^"'\r\n}\]]+`, 'gi'), `$1${MASK}`],
  [new RegExp(String.raw`\b(bearer(?=[ \t:=])${isMasked}[ \t:=]+)[^\s"',;)\]}]+`, 'gi'), `$1${MASK}`],
  // password=…, "api_key":"…", token: …
  [new RegExp(String.raw`(${secretName}\\?["']?[ \t]*[=:]${isMasked}[ \t]*)${value}`, 'gi'), `$1${MASK}`],
  // What signs a URL, and what stands before its host.
  [/([?&][\w-]*(?:sig|signature|credential|key)=)[^\s&"'#]+/gi, `$1${MASK}`],
  [/(\/\/[^\s/:@"']*:)[^\s/@"']+@/g, `$1${MASK}@`],
  // A JSON Web Token, wherever it stands.
  [/\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, MASK],
]

/**
 * The default of the hosts' option `redact`. Masks the text of fields that are named like a secret, and in any text the
 * credentials of `Authorization`, `Bearer` and `Cookie`, `password=`-like pairs, passwords and signatures in URLs, and JSON Web Tokens. It knows
 * the usual forms and no others; a redaction of your own can call it: `(text, key) => maskSecrets(mine(text), key)`. Throws
 * `invalid_argument` for what is no text.
 */
export function maskSecrets(text: string, key: string): string {
  for (const each of [text, key]) if (typeof each !== 'string') throw new StepwellError('invalid_argument', 'maskSecrets takes a text and the name of the field that holds it')
  if (secretField.test(key)) return text === '' ? '' : MASK
  let masked = text
  for (const [pattern, by] of patterns) masked = masked.replace(pattern, by)
  return masked
}

/** An error as it may be stored: every text of it and of its causes masked, then capped. */
export function redactError(error: Error, redact: Redact): Error {
  return fromErrorData(toErrorData(error, { redact }))
}

/** Details as they may be stored, with room for a report that lists many keys. */
export function redactDetails(error: Error, redact: Redact): ErrorDetails | undefined {
  return toErrorData(error, { redact, maxBytes: DETAILS_BYTES }).details
}

/** A text as it may be stored. */
export function redactText(text: string, redact: Redact): string {
  return toErrorData(text, { redact }).message
}
