// For the tests that drive a browser of their own; the script itself is checked as JavaScript.
export function installedChromium(): string | undefined
export function chromium(): string
