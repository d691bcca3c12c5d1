import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromErrorData, maskSecrets, redactError, StepwellError, toErrorData } from '../src/errors.ts'

const SECRET = 'hunter2hunter2'

describe('maskSecrets', () => {
  test.each([
    [`401 for Authorization: Bearer ${SECRET}`, '401 for Authorization: [redacted]'],
    [`authorization: Basic ${SECRET}\nAccept: */*`, 'authorization: [redacted]\nAccept: */*'],
    [`proxy-authorization=Custom a ${SECRET}; rest`, 'proxy-authorization=[redacted]; rest'],
    [`{"authorization":"Bearer ${SECRET}","n":1}`, '{"authorization":"[redacted]","n":1}'],
    [`{ Authorization: 'token ${SECRET}', n: 1 }`, '{ Authorization: \'[redacted]\', n: 1 }'],
    [`body "{\\"authorization\\":\\"Bearer ${SECRET}\\",\\"n\\":1}"`, undefined],
    [`sent bearer  ${SECRET}, and so on`, 'sent bearer  [redacted], and so on'],
    [`BEARER ${SECRET}`, 'BEARER [redacted]'],
    [`bearer: ${SECRET}`, undefined],
    [`Set-Cookie: sid=${SECRET}; Path=/\nx`, 'Set-Cookie: [redacted]\nx'],
    [`login with password=${SECRET}&user=ada`, 'login with password=[redacted]&user=ada'],
    [`dbPassword = '${SECRET}' is wrong`, 'dbPassword = [redacted] is wrong'],
    [`{"password":"a\\"${SECRET}","user":"ada"}`, '{"password":[redacted],"user":"ada"}'],
    [`"{\\"password\\":\\"${SECRET}\\",\\"user\\":\\"ada\\"}"`, '"{\\"password\\":[redacted],\\"user\\":\\"ada\\"}"'],
    [`{"client_secret": "${SECRET}`, '{"client_secret": [redacted]'],
    [`passphrase: ${SECRET}`, 'passphrase: [redacted]'],
    [`x-api-key: ${SECRET}`, 'x-api-key: [redacted]'],
    [`?access_token=${SECRET}&x=1`, '?access_token=[redacted]&x=1'],
    [`https://bucket.example/key?X-Amz-Signature=${SECRET}&x=1`, 'https://bucket.example/key?X-Amz-Signature=[redacted]&x=1'],
    [`https://maps.example/?key=${SECRET}`, 'https://maps.example/?key=[redacted]'],
    [`postgres://ada:${SECRET}@db.example:5432/x failed`, 'postgres://ada:[redacted]@db.example:5432/x failed'],
    [`got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0hunter2.${SECRET} back`, 'got [redacted] back'],
  ])('B-073: %s', (text, expected) => {
    const masked = maskSecrets(text, 'message')
    expect(masked).not.toContain('hunter2')
    if (expected !== undefined) expect(masked).toBe(expected)
    expect(maskSecrets(masked, 'message')).toBe(masked)
  })

  test.each([
    'Unexpected token \'<\', "<!DOCTYPE "... is not valid JSON', 'the card was declined', 'tokens: none are left', 'https://example.com:8080/path?page=2&sort=asc',
    'secretary of state', 'the bearer', 'a@b.example wrote: "hello"', 'step "charge" failed after 3 attempts: HTTP 503', 'cookies are off', 'keyboard=qwerty',
  ])('leaves alone: %s', (text) => {
    expect(maskSecrets(text, 'message')).toBe(text)
  })

  test('B-073: a field that is named like a secret is masked whole', () => {
    for (const key of ['authorization', 'Authorization', 'Proxy-Authorization', 'cookie', 'Set-Cookie', 'password', 'dbPassword', 'passwd', 'clientSecret', 'client_secret', 'apiKey', 'x-api-key', 'access_token', 'token', 'privateKey']) {
      expect(maskSecrets(SECRET, key), key).toBe('[redacted]')
      expect(maskSecrets('', key), key).toBe('')
    }
    for (const key of ['message', 'key', 'name', 'tokens', 'path', 'authorizationUrl', 'secretary']) expect(maskSecrets(SECRET, key), key).toBe(SECRET)
  })

  test('masking twice is masking once, whatever the text is', () => {
    const piece = fc.constantFrom(
      'password', 'token', 'Bearer', 'authorization', 'cookie', '=', ':', ' ', '"', '\'', '\\', '\\"', '[redacted]', 'abc', ',', ';', '&', '?key=', '://', '@', ']', '\n', 'eyJabcdefgh.abcdefgh.x', '\t',
    )
    fc.assert(fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const once = maskSecrets(pieces.join(''), 'message')
      expect(maskSecrets(once, 'message')).toBe(once)
    }), { numRuns: 5000 })
  })

  // Longer by far than it takes, and shorter by far than what grows with the square.
  test('G25: a text of a megabyte takes no more than its length', () => {
    const n = 250_000
    for (const part of ['password', 'password=', 'password="', 'password=\\"', 'authorization:', 'authorization ', 'Bearer ', '//', '//a:', '?', '?a-', 'eyJ', 'eyJabcdefgh.', ' ', '"', '\\', 'a', 'cookie: ', '=:']) {
      const text = part.repeat(Math.ceil(n / part.length))
      const began = performance.now()
      maskSecrets(text, 'message')
      expect(performance.now() - began, part).toBeLessThan(10_000)
    }
  })
})

test('B-073: an error that was redacted is the same error, masked and capped; masked again it does not change', () => {
  const error = new StepwellError('step_failed', `failed with Bearer ${SECRET}`, {
    cause: new TypeError(`x${'y'.repeat(10_000)} password=${SECRET}`), details: { attempts: 3, password: SECRET, deep: { list: [`token=${SECRET}`] } },
  })
  const once = redactError(error, maskSecrets)
  expect(once).toMatchObject({ code: 'step_failed', kind: 'permanent', details: { attempts: 3, password: '[redacted]', deep: { list: ['token=[redacted]'] } } })
  expect(once.cause).toBeInstanceOf(TypeError)
  expect((once.cause as Error).message).toHaveLength(8192)
  expect(JSON.stringify(toErrorData(once, { stack: true }))).not.toContain('hunter2')
  expect(toErrorData(redactError(once, maskSecrets))).toEqual(toErrorData(once))
  expect(fromErrorData(toErrorData(once))).toEqual(once)
})
