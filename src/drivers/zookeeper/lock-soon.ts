import type { Alarm, Alarms } from '../../core/alarms.js';
import type { Clock } from '../../core/clock.js';

/** What waits are bounded with. */
export interface Bounds {
  readonly clock: Clock;
  readonly alarms: Alarms;
}

/** What is answered sooner than this, in milliseconds, is not given up before it is. */
const SOON_MS = 20;

/**
 * The short way of what can be answered at once, as nearly everything is here: the result that
 * `decide` makes of the answer. Where it makes none, or no answer came soon, the long way goes on from
 * there; only that one listens to signals and has bounds of its own, which cost more than all the rest.
 * The answer must not reject.
 */
export function soon<Answer, Result>(
  { clock, alarms }: Bounds,
  answer: Promise<Answer>,
  decide: (answer: Answer) => Result | undefined,
  atLength: () => Promise<Result>,
): Promise<Result> {
  return new Promise((resolve) => {
    let isDecided = false;
    const goOn = (): void => {
      isDecided = true;
      resolve(atLength());
    };
    const late: Alarm = { atMs: clock.monotonicMs() + SOON_MS, ring: goOn };
    alarms.set(late);
    void answer.then((value) => {
      if (isDecided) return;
      alarms.clear(late);
      const result = decide(value);
      if (result === undefined) goOn();
      else resolve(result);
    });
  });
}
