// A clock that can be set: whatever reads `Date.now()` in this worker sees the machine's clock and an offset. It is imported before the
// library. workerd's own alarms follow the machine's clock, so what is set and read of them is translated: as with a real clock that is
// set while an alarm is armed, workerd goes on waiting for the rest of the time that it has measured.

const now = Date.now.bind(Date)
let offset = 0

Date.now = () => now() + offset

/** Sets the clock `ms` ahead of the machine's (behind it, if negative). */
export function setClock(ms: number): void {
  offset = ms
}

/** The alarms of this object are those of the clock above. */
export function translateAlarms(storage: DurableObjectStorage): void {
  const set = storage.setAlarm.bind(storage)
  const get = storage.getAlarm.bind(storage)
  storage.setAlarm = (at, options) => set(Math.max(1, Number(at) - offset), options)
  storage.getAlarm = async (options) => {
    const at = await get(options)
    return at === null ? null : at + offset
  }
}
