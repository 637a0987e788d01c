import { describe, expect, test } from 'vitest';
import { CoordinationError } from '../../../src/core/errors.js';
import { newIncarnation, newTransactionIds } from '../../../src/core/ids.js';
import { seededRandom } from '../../../src/core/random.js';
import { virtualClock } from '../../../src/testing/virtual-clock.js';
import type { Acknowledgement, CommitRecord } from '../../../src/transaction/decision-log.js';
import { logAcknowledger } from '../../../src/transaction/log-acknowledger.js';
import type { SendDecisions, StepAnswer } from '../../../src/transaction/log-batches.js';
import { logDecider } from '../../../src/transaction/log-decider.js';
import { logLiveness } from '../../../src/transaction/log-liveness.js';

// The loops that every log shares, around a store whose single step is written in the test.

const incarnation = newIncarnation(seededRandom(7));
const ids = newTransactionIds({ namespace: 'unit', authority: 'unit', incarnation });

function record(): CommitRecord {
  const transactionId = ids('order:1', 'node-1');
  return { transactionId, resourceId: 'order:1', nodeId: 'node-1', branches: [] };
}

const lost = (): CoordinationError<'RESULT_UNKNOWN'> =>
  new CoordinationError('RESULT_UNKNOWN', 'lost', { backend: 'unit', operation: 'decide' });
const unavailable = (): CoordinationError<'BACKEND_UNAVAILABLE'> =>
  new CoordinationError('BACKEND_UNAVAILABLE', 'away', { backend: 'unit', operation: 'decide' });

/** A decider whose store gives these answers, one a message, and hangs afterwards. */
function deciding(
  answers: readonly (StepAnswer | Error)[],
  options: { inFlightMax?: number } = {},
) {
  const clock = virtualClock();
  const sent: (readonly string[])[] = [];
  const flushes: number[] = [];
  const send: SendDecisions<string> = async (_, batch) => {
    const answer = answers[sent.length];
    sent.push(batch);
    if (answer === undefined) return new Promise(() => {});
    if (answer instanceof Error) throw answer;
    return batch.map(() => answer);
  };
  const decider = logDecider<string>({
    clock,
    timeoutMs: 1_000,
    unacknowledgedMax: 3,
    inFlightMax: options.inFlightMax ?? Number.POSITIVE_INFINITY,
    encode: ({ transactionId }) => transactionId,
    send,
    blockers: async () => ['stock', 'orders', 'stock'],
    flushAcknowledgements: async () => {
      flushes.push(sent.length);
    },
    pause: async () => {},
    isTransient: (error) => error instanceof Error && error.message === 'in the way',
    unknown: (_, cause) => Object.assign(lost(), { cause }),
    refusal: (error) => error,
  });
  const decide = (signal?: AbortSignal) => decider.decide(incarnation, record(), signal);
  return { clock, sent, flushes, decide };
}

describe('the deciding loop', () => {
  test('a lost reply is asked again, and the answer to that is the truth', async () => {
    expect(await deciding([lost(), 'committed']).decide()).toBe('committed');
  });

  test('fenced is believed as a first answer', async () => {
    expect(await deciding(['fenced']).decide()).toBe('fenced');
  });

  test('fenced after a lost reply is unknown: what that recorded may be over and forgotten', async () => {
    const { decide } = deciding([lost(), 'fenced']);
    await expect(decide()).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
  });

  test('a refusal is final only while no earlier message is unanswered', async () => {
    await expect(deciding([unavailable()]).decide()).rejects.toMatchObject({
      code: 'BACKEND_UNAVAILABLE',
    });
    expect(await deciding([lost(), unavailable(), 'committed']).decide()).toBe('committed');
  });

  test('a full log is asked again after waiting acknowledgements were written, then refuses', async () => {
    const { decide, sent, flushes } = deciding(['full', 'full']);
    const error = await decide().catch((each: unknown) => each);
    expect(error).toMatchObject({
      code: 'LOG_FULL',
      details: { limit: 3, participants: ['orders', 'stock'] },
    });
    expect([sent.length, flushes]).toEqual([2, [1]]);
    expect(await deciding(['full', 'committed']).decide()).toBe('committed');
  });

  test('full after a lost reply proves nothing: it is asked on', async () => {
    expect(await deciding([lost(), 'full', 'full', 'committed']).decide()).toBe('committed');
  });

  test('what others were in the way of is sent again', async () => {
    expect(await deciding([new Error('in the way'), 'committed']).decide()).toBe('committed');
  });

  test('when time is up with a message under way the result is unknown, whatever ends it', async () => {
    const { decide, clock } = deciding([]);
    const refused = expect(decide()).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
    await clock.advance(1_001);
    await refused;
    // The reason of an abort may look like a refusal, and is none.
    const controller = new AbortController();
    const { decide: again, clock: other } = deciding([]);
    const aborted = expect(again(controller.signal)).rejects.toMatchObject({
      code: 'RESULT_UNKNOWN',
    });
    await other.settle();
    controller.abort(unavailable());
    await aborted;
  });

  test('decisions of one tick travel together, later ones wait for a free message', async () => {
    const { decide, sent, clock } = deciding(['committed', 'committed'], { inFlightMax: 1 });
    const first = [decide(), decide(), decide()];
    await Promise.all(first);
    expect(sent.map((batch) => batch.length)).toEqual([3]);
    const second = [decide(), decide()];
    await Promise.all(second);
    const hanging = decide().catch(() => {});
    await clock.settle();
    const waiting = [decide().catch(() => {}), decide().catch(() => {})];
    await clock.settle();
    expect(sent.map((batch) => batch.length)).toEqual([3, 2, 1]);
    await clock.advance(1_001);
    await Promise.all([hanging, ...waiting]);
  });
});

describe('the acknowledger', () => {
  const acknowledgement = (): Acknowledgement => ({
    transactionId: record().transactionId,
    participant: 'orders',
  });

  test('gathers acknowledgements, and writes again what could not be written', async () => {
    const clock = virtualClock();
    const written: number[] = [];
    let isAway = true;
    const acknowledger = logAcknowledger({
      clock,
      random: seededRandom(1),
      async write(_, part) {
        if (isAway) throw unavailable();
        written.push(part.length);
      },
    });
    await acknowledger.add([acknowledgement()]);
    await acknowledger.add([acknowledgement(), acknowledgement()]);
    await clock.advance(30);
    expect(written).toEqual([]);
    isAway = false;
    await clock.advance(5_000);
    expect(written).toEqual([3]);
  });

  test('holds up callers when its queue is long, and bounds it', async () => {
    const clock = virtualClock();
    let written = 0;
    const acknowledger = logAcknowledger({
      clock,
      random: seededRandom(1),
      async write(_, part) {
        written += part.length;
      },
    });
    await acknowledger.add(Array.from({ length: 5_001 }, acknowledgement));
    expect(written).toBe(5_001);
  });
});

describe('the liveness of a log', () => {
  test('beats four times a time-out, goes on after a failure, ends with a fence', async () => {
    const clock = virtualClock();
    const answers: ('live' | 'fenced' | Error)[] = ['live', new Error('away'), 'fenced'];
    const beats: number[] = [];
    const liveness = logLiveness({
      clock,
      livenessTimeoutMs: 1_000,
      async beat() {
        beats.push(clock.monotonicMs());
        const answer = answers.shift() ?? 'live';
        if (answer instanceof Error) throw answer;
        return answer;
      },
    });
    liveness.keep(incarnation);
    await clock.advance(740);
    expect(liveness.signal(incarnation).aborted).toBe(false);
    await clock.advance(20);
    expect(liveness.signal(incarnation).reason).toMatchObject({ code: 'INCARNATION_FENCED' });
    await clock.advance(5_000);
    expect(beats).toHaveLength(3);
  });
});
