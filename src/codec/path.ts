// Where in a value something is: `$.items[3].when`, `$.prices<value 2>`.

/** A property, an index of an array, or the n-th part of a Map or Set (`key 0`, `value 0`, `item 0`). */
export type PathPart = string | number | { readonly part: string }

const identifier = /^[A-Za-z_$][A-Za-z0-9_$]*$/
const MAX_NAME_LENGTH = 100

/** The path as text, from `root` down through the first `length` of `parts`. */
export function pathText(root: string, parts: readonly (PathPart | undefined)[], length: number): string {
  let text = root
  for (let i = 0; i < length; i++) {
    const part = parts[i]
    if (typeof part === 'number') text += `[${part}]`
    else if (typeof part === 'object') text += `<${part.part}>`
    else if (part !== undefined) text += identifier.test(part) ? `.${part}` : `[${JSON.stringify(shorten(part))}]`
  }
  return text
}

function shorten(name: string): string {
  return name.length > MAX_NAME_LENGTH ? `${name.slice(0, MAX_NAME_LENGTH)}…` : name
}
