// The steps of the workflows, in words.

export const labels: Readonly<Record<string, string>> = {
  price: 'Work out the price', reserve: 'Reserve the items', charge: 'Charge the card', 'ctx.sleep': 'Wait before shipping',
  ship: 'Ship', 'undo of reserve': 'Give the reservation back', 'undo of charge': 'Refund the charge', total: 'Digest of all files', 'signal:decide': 'Wait for a decision', letters: 'Write the letters',
}
/** A key's last part in words. */
export function labelOf(key: string): string {
  const name = nameOf(key)
  return labels[name] ?? name
}

/** The same of its undo. */
export function undoLabelOf(key: string): string {
  return labels[`undo of ${nameOf(key)}`] ?? `undo of ${labelOf(key)}`
}

function nameOf(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1).replace(/#\d+$/, '')
}
