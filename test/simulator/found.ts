// Seeds that have found something, each with what it was. A seed is a schedule of the simulator as it is: when the simulator draws
// otherwise, it is just one more schedule, so what was found has a test of its own as well (test/engine/simulated.test.ts).

export const found: readonly (readonly [seed: number, what: string])[] = [
  [242, 'a cancel that was acknowledged, and that its driver read when the function had ended, was dropped'],
  [848, 'the same, of a run that failed'],
  [684, 'a cancelled run that waited for an effect was taken for one whose driver had died, again and again, until it was blocked'],
  [1231, 'an attempt of the generation before failed before this one had asked for its effect: a divergence on replay'],
  [1018, 'the same, and its entry had the fingerprint of no call'],
  [210, 'a run cancelled while its version was unknown left an effect undecided, and its export did not replay'],
  [2582, 'a clock set back between a cancel and the end: an entry older than the one before it'],
  [500279, 'a cancel behind the end of a function that undoes was lost in a crash between the two'],
  [502361, 'the same, of a function that had completed'],
  [1739, 'a tab with older code took over where newer code had applied a patch, and went on without it'],
  [10022650, 'a patch that was asked for behind a cancel was committed before it: a divergence after a crash between the two'],
  [20013918, 'a timer fired before an outcome that was committed during a pause was delivered: a divergence'],
  [70003207, 'a restart that was asked for while the run undid what it had done, as cancelled, was acted on by the process that took it over'],
  [1301341, 'older code diverged from a run that was undoing, and began a generation in which nothing asked for what was to be undone'],
  [40001331, 'a pause that came together with a cancel stopped the undoing for good'],
  [3006613, 'a retry of a run that its deadline had ended inherited the passed deadline: it failed at once, and a cancel that was acknowledged had no effect'],
  [5121496, 'a probe that answered and whose answer could not be written answered once more in the next drive: an effect had two outcomes'],
  [16629, 'a step that ended while its run was paused ran once more when it was resumed'],
  [1007138, 'a tab that could not store what a step had emitted, and drove again when another had completed the step, stored it behind the outcome'],
  [10011675, 'a commit that took a signal was refused because another one came, and an effect whose intent was in it was in no commit any more: it never began'],
  [10032893, 'the same, with an effect of another branch'],
  [40227415, 'what an attempt reported late, while the run was paused and its end was committed and not delivered, was a second outcome'],
  [41002103, 'a decision whose answer got lost was stored twice, and acted on twice in one commit: an effect had two outcomes'],
  [41003210, 'the same, of two people who decided otherwise at the same moment'],
]
