// Numbers as people read them.

const euros = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' })

export function money(cents: number): string {
  return euros.format(cents / 100)
}

const units = ['bytes', 'kB', 'MB', 'GB', 'TB']

export function size(bytes: number): string {
  let value = bytes
  let unit = 0
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000
  return `${unit === 0 ? value : value.toPrecision(3)} ${bytes === 1 ? 'byte' : units[unit] ?? ''}`
}

/** A length of time: `340 ms`, `2.4 s`, `3 min 5 s`, `2 h 10 min`, `3 days`. */
export function span(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`
  const seconds = ms / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  return countdown(ms)
}

/** The same in whole units, rounded up: it never says that nothing is left while something is. */
export function countdown(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return seconds % 60 === 0 || minutes >= 10 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return `${Math.floor(hours / 24)} days`
}

const clock = new Intl.DateTimeFormat('en', { timeStyle: 'medium' })
const day = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' })

/** When something was, by the wall clock; with its day when that is not today. */
export function moment(at: number, now: number): string {
  return new Date(at).toDateString() === new Date(now).toDateString() ? clock.format(at) : day.format(at)
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`
}
