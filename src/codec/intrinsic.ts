// Which built-in class an object belongs to, also when it comes from another realm (an iframe, a vm context).

/** Views of bytes other than Uint8Array, by the name under which the wire form keeps them. */
const viewNames = [
  'Int8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array', 'Uint32Array', 'BigInt64Array',
  'BigUint64Array', 'Float16Array', 'Float32Array', 'Float64Array', 'DataView',
] as const

export type ViewName = (typeof viewNames)[number]
export type IntrinsicName =
  | ViewName | 'Object' | 'Array' | 'Date' | 'Map' | 'Set' | 'Error' | 'Uint8Array' | 'ArrayBuffer'

type ViewClass = new (buffer: ArrayBuffer) => ArrayBufferView

/** The class of a view, or undefined when this host lacks it (Float16Array is young). */
export function viewClass(name: string): ViewClass | undefined {
  if (!viewNames.includes(name as ViewName)) return undefined
  return (globalThis as unknown as Record<string, ViewClass | undefined>)[name]
}

const names: readonly IntrinsicName[] = [
  'Object', 'Array', 'Date', 'Map', 'Set', 'Error', 'Uint8Array', 'ArrayBuffer', ...viewNames,
]

const byPrototype: ReadonlyMap<unknown, IntrinsicName> = new Map(names.flatMap((name): [unknown, IntrinsicName][] => {
  const constructor = (globalThis as unknown as Record<string, { readonly prototype: unknown } | undefined>)[name]
  return constructor === undefined ? [] : [[constructor.prototype, name]]
}))

/** The intrinsic class whose direct instance `value` is; undefined for instances of any other class. */
export function intrinsicName(value: object, prototype: object | null): IntrinsicName | undefined {
  if (prototype === null) return 'Object'
  const known = byPrototype.get(prototype)
  if (known !== undefined) return known
  if (value instanceof Error) return 'Error'
  const tag = Object.prototype.toString.call(value).slice(8, -1)
  const name = constructorName(prototype)
  // Node's Buffer is how Node programs hold bytes; it comes back as the Uint8Array that it is.
  if (tag === 'Uint8Array' && name === 'Buffer') return 'Uint8Array'
  if (tag === 'Error' || tag === 'DOMException') return 'Error'
  // Another realm's class has the name of ours, is no subclass of ours, and its instances have the same tag.
  if (name !== tag || isOfThisRealm(prototype)) return undefined
  return names.find((each) => each === tag)
}

function isOfThisRealm(prototype: object): boolean {
  const top = Object.getPrototypeOf(prototype) as object | null
  return top === null ? !Object.hasOwn(prototype, 'isPrototypeOf') : top === Object.prototype || byPrototype.has(top)
}

/** The name of the class, for messages; never throws. */
export function constructorName(prototype: object | null): string {
  try {
    const constructor: unknown = (prototype as { readonly constructor?: unknown } | null)?.constructor
    return typeof constructor === 'function' ? constructor.name : ''
  } catch {
    return ''
  }
}
