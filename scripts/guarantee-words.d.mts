export interface Words {
  readonly title: string
  readonly promise: string
  readonly cost: string
  readonly ends: string
  readonly edge?: string
  readonly browser?: string
  readonly later?: true
}
export const guarantees: Readonly<Record<string, Words>>
export const ends: readonly (readonly [what: string, text: string])[]
export const bugs: readonly (readonly [by: string, what: string, test: string])[]
export const figures: readonly (readonly [name: string, what: string])[]
export const compared: readonly (readonly [what: string, text: string])[]
