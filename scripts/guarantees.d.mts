/** Where the page is. */
export const pageFile: string
/** The files with tests that name a guarantee, by guarantee. */
export function tests(): ReadonlyMap<string, ReadonlySet<string>>
/** Mutants by guarantee. */
export function mutants(): ReadonlyMap<string, readonly string[]>
/** What docs/guarantees.md has to say. */
export function page(): string
