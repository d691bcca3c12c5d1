// The words of docs/guarantees.md: what each guarantee promises, what it costs and where it ends. scripts/guarantees.mjs adds what is
// counted. Written by hand, for whoever decides whether to trust it.

/** @type {typeof import('./guarantee-words.mjs').guarantees} */
export const guarantees = {
  G1: {
    title: 'The journal is the only authority',
    promise: 'What happened is what the journal says. Status, summary, the ledger of effects and every list are derived from it: delete or damage one and it is made again, or the run stops; nothing is ever decided against the journal.',
    cost: 'Nothing beside the journal: one row is written at the edge for each entry. The run row is written at start, wake, park and end, not for each step.',
    ends: 'With the storage. Who deletes a Durable Object, or the data of an origin, deletes the journal. An ended run goes when its retention is over, and leaves a tombstone; without `retention` it stays until it is destroyed.',
    edge: 'the object\'s SQLite', browser: 'IndexedDB of one origin and profile',
  },
  G2: {
    title: 'Committed, then seen',
    promise: 'A step\'s outcome is committed before the workflow sees it. After a crash at any instant a step whose outcome was committed never runs again. A step that was running runs again, with the same idempotency key: at least once.',
    cost: 'One row for each step at the edge (1.02 with the rows of the run itself, measured), no await: the platform holds back what leaves until it is durable. In a browser one transaction for all that was decided in a turn.',
    ends: 'Outside: what an unfinished step did to the world stays done, so steps should be repeatable and what must not be repeated is an effect (G12). In a browser `relaxed` commits survive a crash of the tab and of the browser; a power cut may take the last of them, and those steps run again.',
    edge: 'output gate of the platform', browser: '`relaxed` transaction; strict for start, effects and end',
  },
  G3: {
    title: 'Numbers without gap or reuse',
    promise: 'Entries are numbered from 1, in one sequence over restarts, hosts and generations. The number is checked inside the commit, so two writers can never both append the same one. Only the driver appends; everybody else posts messages.',
    cost: 'A comparison in the statement that inserts. No row.',
    ends: 'Numbers say what was first in the journal, not what was first in the world.',
  },
  G4: {
    title: 'A chain that shows damage',
    promise: 'Each entry carries a BLAKE3 hash of its payload and one of everything before it. A changed, missing or exchanged entry is named in a typed error, that run is `blocked`, nothing is deleted, and every other run goes on.',
    cost: '64 bytes and two hashes for each entry, verified again on every replay: about 2 µs each way.',
    ends: 'It is a checksum, not a signature: who can write to the storage can also make a new chain. And it ends at the last mark: the head is stored at park, wake, change of authority and end, so entries after the last of these are protected against change, not against removal of the tail. A whole storage that is put back from an old copy (a restored browser profile, a restored object) is a whole chain: the run goes on from there, and does again what it had done since; effects are then only as safe as the outside world\'s own deduplication.',
  },
  G5: {
    title: 'All or nothing',
    promise: 'Entries, run row, messages taken, ledger rows and the wake time are one commit. A commit whose answer was lost is looked up by its hash and becomes known; memory changes only after it. No run parks or ends over a message that has just come.',
    cost: 'One transaction for each commit. Many outcomes of a turn share one (up to 512 entries or 1 MiB). A commit without an answer is given up after 30 s (`commitMs`), and looked up.',
    ends: 'At the run: nothing is atomic over two runs, or between a run and another database.',
    edge: '`transactionSync`, the alarm in the same transaction', browser: 'one IndexedDB transaction with an explicit `commit()`',
  },
  G6: {
    title: 'One writer',
    promise: 'Each commit checks the epoch of its authority in its own transaction. A frozen tab that thaws, an object that was replaced, a stolen lock: whoever was superseded writes nothing any more and stops at its next commit.',
    cost: 'Edge: nothing. Browser: each drive takes an epoch with one strict commit, and adds a mark where the entries go on.',
    ends: 'It fences writes, not acts: a superseded driver may still be inside a function that it called before. For effects G12 and G13 deal with that.',
    edge: 'one object for each run; the epoch moves at a hand-off', browser: 'a Web Lock saves work, the epoch decides',
  },
  G7: {
    title: 'Stable names of calls',
    promise: 'A call is known by its scope, its name, its own `key` and how many equal ones came before it in that scope. What completes first changes no name.',
    cost: 'A string for each call.',
    ends: 'Two equal calls of one scope are told apart by their order alone. Where lists change between deploys, give `key`.',
  },
  G8: {
    title: 'Delivery in journal order',
    promise: 'Outcomes are handed to the workflow one at a time, in journal order, by one rule that live runs and replays share. So `race`, `any`, time-outs and native `Promise.all` give on each replay, on each host, what they gave live.',
    cost: '24 microtask turns for each delivery; a turn of the event loop as well while more than one call is outstanding (replay in workerd: 99,000 entries a second without, 21,000 with).',
    ends: 'What the function does between two calls must be its own: `Date.now()`, `Math.random()` or a variable that another run changes are not replayed. Use `ctx.now`, `ctx.random`, or a step.',
  },
  G9: {
    title: 'Code that no longer fits is noticed',
    promise: 'Each call is compared with the entry that it meets: kind, name, class, declared input. What differs, is missing or is left over stops the run before it does anything, with both sides in the error. The policy `restart` begins a new generation instead, at most 3 times (`restarts`).',
    cost: '16 bytes and one hash for each keyed entry.',
    ends: 'Only calls are compared. A change that asks for the same calls and treats their results in another way is not seen. Check deploys against real runs with `checkReplay`.',
  },
  G10: {
    title: 'Long runs in bounded memory',
    promise: 'A replay reads the journal in pages and keeps one. Patches and the ledger are looked up by key. A run of a million entries replays in the memory of a short one.',
    cost: 'One read for each 512 entries.',
    ends: 'At what the function keeps itself: a list of all results is as long as it is. A journal ends at 10,000,000 entries (`entries`).',
  },
  G11: {
    title: 'The same time, the same chance, no second log line',
    promise: '`ctx.now`, `random` and `uuid` give on replay what they gave live; `log` is silent until the replay is over. Recorded times never decrease.',
    cost: 'No entry: they are derived from the seed and the last delivery.',
    ends: '`ctx.now` is the time of the last delivery, so it stands still between two. Progress and logs of steps are not kept.',
  },
  G12: {
    title: 'No effect without an intent on disk',
    promise: 'The function of an effect is called only after its intent is committed and durable, and after epoch, cancel, pause and time were looked at once more. A successor decides about it only when the predecessor can no longer be inside: after `startBy` and the time-out.',
    cost: 'For each attempt two commits with two rows each (entry and ledger row), and a wait until the first of them is on the disk. After a crash inside an effect up to 10 s (`startByMs`) and its time-out (1 minute) before anything is decided.',
    ends: 'At the outside world. An intent without an outcome means that nobody here can know; a request that outlives its own time-out (a proxy that holds it back) is beyond what waiting can do.',
    edge: '`sync()` after the intent', browser: 'a strict transaction; power loss is as the disk keeps its word',
  },
  G13: {
    title: 'Nobody guesses',
    promise: 'When nobody knows whether an effect happened (crash, time-out, abort, broken connection, `ambiguous(error)`), its policy decides: `fail`, `rerun` with the same idempotency key, `skip`, `probe`, or `ask` a person. The decision, and who made it, is an entry in the commit of what follows from it. Every attempt counts, also one that its host did not survive. A late outcome is recorded and never delivered twice.',
    cost: 'One entry for each decision. `ask` blocks the run until a person answers.',
    ends: '`rerun` is once only where the outside world deduplicates by the key; `probe` is only as true as the answer. A throw counts as "did not happen" unless it says otherwise: a client that throws after success must mark it.',
  },
  G14: {
    title: 'Money needs a policy',
    promise: 'An effect of kind `money`, `destructive`, `security` or `custom` without a policy and a declared input does not compile, and throws before anything is written.',
    cost: 'Nothing at run time.',
    ends: 'A payment inside a plain step is a step. The kind is what you say it is.',
  },
  G15: {
    title: 'One key for one act',
    promise: 'The idempotency key of a call holds the run, scope, name, own key and declared input: not its position, attempt or generation. Permuted, extended and parallel loops, inserted code and restarts change no key, and an act that is done is found in the ledger and not done again.',
    cost: 'One read of the ledger for each effect that is not in the journal.',
    ends: 'At the run: another run has other keys, also with the same input. The ledger goes with the run. Items of `ctx.map` need the option `key`, or they are named by their index.',
  },
  G16: {
    title: 'No end over an open effect',
    promise: 'When the function ends, steps that are still open are aborted, and effects that are still open are settled or decided first.',
    cost: 'The end may wait as long as the slowest effect\'s time-out.',
    ends: 'A step that does not listen to its `abortSignal` goes on in the void; what it does is not recorded.',
  },
  G17: {
    title: 'Signals',
    promise: 'A signal is durable when it is acknowledged, and is there for whoever asks for its name later, in the order in which they were sent. The same id is one signal, also after the run has taken it or has ended. Its delivery and the end of its row are one commit, and one that was committed before a timeout is preferred to it.',
    cost: 'Three rows to send it (the signal, its receipt, the number in the run row) and an alarm when the run has none so near; an entry and a deleted row to take it. A signal that nobody waits for wakes the run once, which replays.',
    ends: 'With the run: what nobody has taken by its end is not delivered. A call in a branch that has lost its `race` still waits, and takes the next signal: wait with a `timeout` there. Receipts of ids stay as long as the run does. Who may send is decided by `authorize`, for all signals alike.',
  },
  G18: {
    title: 'Events',
    promise: 'What a run tells (`ctx.emit`, `emit` of a step\'s call) has a number that is given in its commit: 1, 2, 3 … over crashes, hosts and generations, none left out and none used twice. Stored before what follows from it; the function\'s own exactly once, a step\'s at least once. Readers go on behind any number; when the next event is not kept any more they get a typed gap and never a short list.',
    cost: 'Two rows for each event, one commit for all of a window. A step that emits none costs what it did.',
    ends: 'At what is kept: the last 10,000 events of a run (`limits.events`); older ones are in the journal. A new generation tells again what it does again. What an attempt has emitted just before it is aborted may be lost with it, and so may what branches emit that nobody waits for when the function has ended. In a browser events are committed `relaxed`, like steps.',
    edge: 'pages and Server-Sent Events, from the object that drives the run', browser: 'from IndexedDB, in every tab',
  },
  G19: {
    title: 'Timers are late, never lost',
    promise: 'The due time of a sleep or a retry is stored and wins over one that is computed anew. What became due while everything was dead fires once, on waking.',
    cost: 'Two entries for each sleep; parking writes the run row and sets the alarm, if it is another one.',
    ends: 'Late: in a browser nothing runs while no page is open, and background tabs are throttled. Due times are wall-clock times: a clock that is set changes when they are reached.',
    edge: 'the alarm of the object', browser: 'a timer while a page is open, and a look at each opening',
  },
  G20: {
    title: 'Deferred values',
    promise: 'A deferred is settled by whoever has one of its tokens: 32 random bytes, of which the run keeps a hash that is bound to run and deferred. The first settles it for good. A wrong token, one of another deferred or run, and one for what was settled long ago are refused alike, before anything else is looked at. A token that is issued anew takes none back.',
    cost: 'A row for each token; a signal\'s rows to settle it.',
    ends: 'At the token: whoever gets hold of it can settle. It leaves the step that was given it in whatever way that step sends it, and comes back only over the API.',
  },
  G21: {
    title: 'Cancel is final',
    promise: 'A cancel is durable when it is answered and outranks everything but an end that was committed. `abortSignal` aborts, outstanding calls reject in call order, only `ctx.cleanup` may call, and after the stored grace deadline the run ends. `undo: true` takes back what was done, in reverse order.',
    cost: 'A message and one entry; the end shares their commit when there is nothing to clean up.',
    ends: 'An effect of which nobody knows whether it happened is decided first, by a person if its policy asks. Undo can only reach what the deployed code still asks for; otherwise the run is `blocked` with an account.',
  },
  G22: {
    title: 'A typo undoes nothing',
    promise: 'A `TypeError` or `ReferenceError` of the workflow function blocks the run (`workflow_bug`): nothing is undone, and a fixed deploy goes on from there. Other throws fail it.',
    cost: 'A blocked run is looked at again after 1 minute, then ever more rarely, up to once a day.',
    ends: 'Errors thrown inside steps are failures of the step, whatever their class.',
  },
  G23: {
    title: 'Starting twice is starting once',
    promise: 'A start with an id or token finds the run that it made before, over any number of repeats. The same with another input or workflow is an error. An id that has ended is not used again.',
    cost: 'A hash of the input in the run row.',
    ends: 'With the run: once it is destroyed, its id is free. Without id and token each start is another run.',
  },
  G24: {
    title: 'The end is told',
    promise: 'Terminal status, retention mark and the notice of the end are one commit. `onEnd` hears of each end at least once, and of none that was not committed.',
    cost: 'One row and its deletion, only where `onEnd` is set; repeats with back-off, 20 times (`noticeTries`).',
    ends: 'At least once, so the receiver deduplicates by run and generation. After the last try the notice is kept, and told no more.',
  },
  G25: {
    title: 'Limits that speak',
    promise: 'Each limit has a name, a default, and a typed error with the measured and the allowed value. Nothing is cut short or rounded in silence, and no memory is taken for a length that is only claimed.',
    cost: 'A comparison.',
    ends: 'The platform\'s own limits (CPU, memory, the size of a database, the quota of an origin) come as `overloaded`, `quota_exceeded` or the end of the process.',
  },
  G26: {
    title: 'Values come back as they were',
    promise: 'JSON, and `Date`, `Map`, `Set`, `bigint`, bytes and typed arrays, `Error`, `undefined`, `NaN`, `-0`. What cannot be carried throws at the step with the path of the field. The live run sees the decoded copy, as a replay will.',
    cost: 'Encoding and decoding of each value; bytes grow by a third.',
    ends: 'Classes, functions, symbols and cycles are refused. Object identity is not kept.',
  },
  G27: {
    title: 'Large values in verified chunks',
    promise: 'Above 64 KiB (`inlineBytes`) a value becomes a blob: its chunks are durable before the commit that refers to it, each is verified by hash when it is read.',
    cost: 'One row for each 48 KiB and one for the manifest.',
    ends: 'Kept in the run\'s own store; R2 is not used yet. A blob put for a run that is never started is removed after a day.',
  },
  G28: {
    title: 'One class of errors, a closed list of codes',
    promise: 'Each error has a code from a closed list, a kind that says what it means for the caller, and a line that says what to do. A request that is refused has changed nothing.',
    cost: 'The texts are a tenth of each bundle.',
    ends: 'Texts may change; codes do not.',
  },
  G29: {
    title: 'A running run has an alarm',
    promise: 'While a run is running or owes a notice, something will wake it: the alarm sets its successor before it works. Back-off is ours and stored, and a run that wakes 50 times (`wakes`) without an entry is stopped with an error. Reading, also of an id that never was, writes nothing.',
    cost: 'One alarm for each drive, and one each 30 s (`recoveryMs`) while it goes on.',
    ends: 'In a browser nothing wakes a run while no page of the app is open.',
    edge: 'the alarm, set in the commit', browser: 'each opening, and a look at the clock while open',
  },
  G30: {
    title: 'Foreign awaits are caught live',
    promise: 'A workflow awaits ctx calls and plain promises only. A ctx call that is made after awaiting `fetch`, a timer or the like throws `foreign_await` when it happens, naming the call, not on some later replay.',
    cost: 'Nothing beside G8.',
    ends: 'A foreign await after which no ctx call follows is noticed after 10 s (`stallMs`), or not at all if it is the last thing that the function does.',
  },
}

/** Where all of them end, whatever is said above. @type {typeof import('./guarantee-words.mjs').ends} */
export const ends = [
  ['The outside world', 'The journal knows what was asked and what was answered. Between the two only the outside world knows. "Exactly once" needs its help: deduplication by the idempotency key, or a probe.'],
  ['Power loss', 'At the edge a commit that was answered is on several disks. In a browser what must not be lost (start, intents and outcomes of effects, decisions, cancel, end) is committed `strict`; the rest is `relaxed`, survives a crash, and may go with the power. What goes is always a tail, and those steps run again.'],
  ['Eviction', 'A browser may delete an origin\'s storage as a whole, unless it was granted persistence; a person may do so at any time. Then the run never was.'],
  ['A damaged database', 'Chromium throws the whole database of an origin away when it finds its files damaged, and makes an empty one. A kill is enough: its LevelDB writes a record in two calls, a kill between them leaves half of one, the next opening writes on behind it, and the one after that finds a wrong checksum (seen in 2 of 86 kills of a page that wrote without pause). Nothing brings the runs back. It is an error in the log, and `storage()` says when it was (`lost`). What must not be lost with a device is started at the edge.'],
  ['A restored profile', 'A profile, disk or object that is put back to an older state goes on from there. It cannot know. Effects that happened since are asked for again, with the same idempotency keys.'],
  ['Retention', 'A run whose workflow says `retention` is swept when that is over: its journal, its values and its ledger are gone, and a tombstone says that it was, so that its id is never used again. Export it before. Without `retention` it stays.'],
  ['The tail after the last mark', 'Entries after the last park, wake or end can be removed by whoever can write to the storage, and nothing notices (G4).'],
  ['Two hosts', 'A run stays where it was started: moving it between browser and edge is not built yet.'],
]

/** What is compared between stores, hosts and another engine, and what is left out of it. @type {typeof import('./guarantee-words.mjs').compared} */
export const compared = [
  ['Stores', 'One seeded workload (steps, retries, effects, timers, branches, state, undo, failures, values of every kind, blobs) gives the same journal and the same rows on memory, SQLite in workerd and IndexedDB in Chromium, byte for byte, under one virtual clock and one seed. Left out: `prompt` (a store that answers at once lets a lone outcome be delivered at the fixed turn, one that answers later at quiescence), and the hash that covers it (`test/differential/journal.ts`).'],
  ['Hosts', 'A real Durable Object, a real browser host and the test host give the same journal of a sequential workload. Left out besides: host, times and due times (the clock is real, the delay of a retry is drawn), and the payloads that hold drawn seeds, keys and times: `run_started`, `effect_intended`, `effect_noted` (`test/differential/hosts.ts`).'],
  ['Cloudflare Workflows', 'Small workflows (values, retries until success and to the last, final errors, failures, time-outs, sleeps, parallel steps) end the same on both in one workerd, with as many calls of each function. Left out, because the two differ by design: `Promise.race` over steps, texts of errors, names of equal calls, values that only one carries, effects and what belongs to them (`test/differential/cloudflare.test.ts`).'],
]

/** What campaigns and fuzzing have found, each with the test that keeps it away. @type {typeof import('./guarantee-words.mjs').bugs} */
export const bugs = [
  ['fuzzing of the import', '`checkReplay` rejected with a `TypeError` for an export whose record had fields of another type', 'test/journal/import.test.ts'],
  ['fuzzing of the journal', 'an entry with a time that is no number, or a count over 2^53, was taken if its hash was made anew', 'test/journal/import.test.ts'],
  ['the simulator', 'a cancel that was acknowledged, and that its driver read when the function had ended, was dropped', 'test/engine/simulated.test.ts'],
  ['the simulator', 'a cancelled run that waited for an effect looked as if its driver had died: driven again and again, until it was blocked', 'test/engine/simulated.test.ts'],
  ['the simulator', 'an attempt of the generation before, which failed before this one asked for its effect, was a divergence on replay', 'test/engine/simulated.test.ts'],
  ['the simulator', 'a run cancelled while its version was unknown left an effect undecided, and a cancel with undo undid nothing', 'test/engine/simulated.test.ts'],
  ['the simulator', 'a clock set back between a cancel and the end: an entry older than the one before it', 'test/engine/simulated.test.ts'],
  ['the simulator', 'a tab with older code took over where newer code had applied a patch, and went on without it', 'test/engine/simulated.test.ts'],
  ['the simulator', 'a step that ended while its run was paused ran again when it was resumed', 'test/engine/simulated.test.ts'],
  ['the simulator', 'a timer, the end of an effect or a cancel was committed before what had been committed during a pause was delivered: the journal did not replay', 'test/engine/simulated.test.ts'],
  ['the simulator', 'a patch that was asked for behind a cancel was committed before it: a divergence after a crash between the two', 'test/engine/simulated.test.ts'],
  ['the simulator', 'a pause that came together with a cancel was committed behind it, and stopped the undoing for good', 'test/engine/simulated.test.ts'],
  ['the simulator', 'older code diverged from a cancelled run and began a new generation, in which the cancel was forgotten or nothing asked for what was to be undone', 'test/engine/simulated.test.ts'],
  ['the simulator', 'a restart that was acknowledged just before a cancel was committed was acted on by the process that took the run over', 'test/engine/simulated.test.ts'],
  ['the simulator', 'a run that its deadline had ended failed again at once when it was retried or restarted, and a cancel of it was acknowledged and had no effect', 'test/engine/control.test.ts'],
  ['the simulator', 'a probe that had answered when the disk was full answered once more in the next drive: the effect had two outcomes', 'test/engine/simulated.test.ts'],
  ['the simulator', 'a decision that was stored twice, because an answer got lost or two people decided at once, was acted on twice: an effect had two outcomes or was called twice and the journal did not replay, an undo was tried once too often', 'test/engine/simulated.test.ts'],
  ['reading what follows from the bug above', 'of two attempts at an effect that had timed out and reported in the same moment only the first report counted: one that told that it had happened was lost, and the effect was called again, or not undone', 'test/engine/effects.test.ts'],
  ['the simulator', 'an effect whose intent was in a commit that was refused, because a signal came while another one was taken, was in no commit any more and never began', 'test/engine/signals.test.ts'],
  ['the simulator', 'a tab stored the event of a step behind the outcome that another tab had given it', 'test/engine/events.test.ts'],
  ['the simulator', 'an effect whose policy is `rerun` was called again at once and without end while the outside world was down', 'test/engine/effects.test.ts'],
  ['the fault store', 'one damaged read of the last entry made the journal break its own chain', 'test/testing/fault-table.test.ts'],
  ['real kills', 'a run whose tab was frozen could be taken by no other tab', 'test/kill/flock.test.ts'],
  ['asking whether every end is told (T-104)', 'an effect, or an undo, whose host died in each attempt was called again without end', 'test/engine/deaths.test.ts'],
  ['fuzzing of the HTTP API', 'a run whose cancel waited for a person was driven, with a commit, by each look at it after a second cancel', 'test/engine/second-cancel.test.ts'],
]

/** Names of figures that the table shows, in this order, and what they count. @type {typeof import('./guarantee-words.mjs').figures} */
export const figures = [
  ['simulate.schedules', 'schedules simulated in one run'],
  ['simulate.faults', 'faults in them'],
  ['simulate.violations', 'of them, schedules that violated a guarantee'],
  ['simulateSince.schedules', 'schedules simulated in one run since there are signals and events'],
  ['simulateSince.violations', 'of them, schedules that violated a guarantee'],
  ['crashPoints.explored', 'crash schedules explored'],
  ['crashPoints.crashes', 'processes that died in them'],
  ['kills.workerd', 'kills of workerd survived'],
  ['kills.chromium', 'kills of Chromium survived'],
  ['kills.runs', 'runs under kills'],
  ['fuzz.inputs', 'inputs fuzzed'],
  ['fuzz.http.requests', 'of them HTTP requests'],
  ['fuzz.http.reached', 'of these, requests that reached a handler'],
  ['fuzz.http.oneField', 'and requests one field away from a valid one'],
  ['fuzz.workerd.mb', 'MB that workerd held at most under them'],
  ['fuzz.mb', 'MB that the fuzzing process held at most'],
  ['mutants.killed', 'mutants killed'],
  ['mutants.total', 'of all mutants'],
]
