import { channel, tracingChannel } from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import fc from 'fast-check';
import {
  CoordinationError,
  GUARANTEE_LEVELS,
  guaranteeAtLeast,
  isCoordinationError,
  seededRandom,
  systemRandom,
} from 'tricord';
import { virtualClock } from 'tricord/testing';
import { describe, expect, test } from 'vitest';
import { backoffMs } from '../../../src/core/backoff.js';
import { eventChannel, operationChannel } from '../../../src/core/diagnostics.js';
import { closedError } from '../../../src/core/errors.js';
import { weakestGuarantee } from '../../../src/core/guarantees.js';
import { histogram } from '../../../src/core/histogram.js';
import { assertName, assertNumber, invalidArgument } from '../../../src/core/validate.js';
import { workGate } from '../../../src/core/work-gate.js';

describe('errors', () => {
  test('carry code, details, whether to retry, and the cause', () => {
    const cause = new Error('ECONNREFUSED');
    const details = { backend: 'redis', operation: 'acquire' };
    const error = new CoordinationError('BACKEND_UNAVAILABLE', 'no redis', details, { cause });
    expect(error).toMatchObject({ name: 'CoordinationError', retryable: true, details, cause });
    expect(closedError('the lock').retryable).toBe(false);
  });

  test('are recognised by brand, so that another copy of the package counts too', () => {
    const error = closedError('it');
    const foreign = { [Symbol.for('tricord.CoordinationError')]: true, code: 'CLOSED' };
    for (const each of [error, foreign]) {
      expect(isCoordinationError(each)).toBe(true);
      expect(isCoordinationError(each, 'CLOSED')).toBe(true);
      expect(isCoordinationError(each, 'LOCK_LOST')).toBe(false);
    }
    for (const each of [new Error('x'), null, undefined, 'CLOSED', { code: 'CLOSED' }]) {
      expect(isCoordinationError(each)).toBe(false);
    }
  });
});

describe('bad arguments', () => {
  test('are named with their value and a remedy', () => {
    const error = invalidArgument('ttlMs', Number.NaN, 'a number');
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'ttlMs', value: Number.NaN });
    expect(error.message).toBe('ttlMs is NaN; pass a number');
  });

  test('never print what an object holds', () => {
    const client = { host: 'x', password: 'hunter2', [inspect.custom]: () => 'hunter2' };
    const error = invalidArgument('driver', client, 'a driver');
    expect(inspect(error)).not.toContain('hunter2');
    expect(error.value).toBe(client);
  });

  test('are shown shortened', () => {
    expect(invalidArgument('id', 'x'.repeat(10_000), 'less').message.length).toBeLessThan(200);
  });

  test('a number is inside its bounds, never NaN, whole where asked', () => {
    assertNumber('n', 0, { min: 0 });
    assertNumber('n', Number.POSITIVE_INFINITY, { min: 0, max: Number.POSITIVE_INFINITY });
    const bad = [Number.NaN, -1, Number.POSITIVE_INFINITY, '1', null, undefined, 1n];
    for (const value of bad) {
      expect(() => assertNumber('n', value, { min: 0 })).toThrow('n is');
    }
    expect(() => assertNumber('n', 1.5, { min: 0, integer: true })).toThrow('a whole number');
  });

  test('a name is well-formed and counted in bytes', () => {
    assertName('name', '😀'.repeat(4), 16);
    expect(() => assertName('name', '😀'.repeat(4), 15)).toThrow('this one has 16');
    expect(() => assertName('name', '\uD83D', 15)).toThrow('lone surrogate');
  });
});

describe('work gate', () => {
  test('drains what is in flight and refuses new work', async () => {
    const gate = workGate('the thing', virtualClock());
    const leave = gate.enter();
    const closing = gate.close(1_000);
    expect(gate.isClosed).toBe(true);
    expect(() => gate.enter()).toThrow('the thing is closed');
    await expect(gate.run(async () => {})).rejects.toMatchObject({ code: 'CLOSED' });
    leave();
    leave();
    await expect(closing).resolves.toBe('drained');
    await expect(gate.close(0)).resolves.toBe('drained');
  });

  test('does not wait longer than it was told, and leaves no timer', async () => {
    const clock = virtualClock();
    const gate = workGate('it', clock);
    const running = gate.run(() => new Promise(() => {}));
    running.catch(() => {});
    const closing = gate.close(100);
    await clock.advance(100);
    await expect(closing).resolves.toBe('timed-out');
    expect(clock.timerCount).toBe(0);
  });

  test('work that fails has left too', async () => {
    const gate = workGate('it', virtualClock());
    await expect(gate.run(() => Promise.reject(new Error('work')))).rejects.toThrow('work');
    await expect(gate.close(1)).resolves.toBe('drained');
  });
});

describe('diagnostics', () => {
  test('an event is built only when somebody listens', () => {
    const events = eventChannel<{ n: number }>('tricord:test.event');
    events.publish(() => expect.unreachable());
    const heard: unknown[] = [];
    const listen = (message: unknown) => void heard.push(message);
    channel(events.name).subscribe(listen);
    events.publish(() => ({ n: 1 }));
    channel(events.name).unsubscribe(listen);
    events.publish(() => expect.unreachable());
    expect(heard).toEqual([{ n: 1 }]);
  });

  test('an operation is traced from start to end, with its result or its error', async () => {
    const operations = operationChannel<{ n: number; result?: unknown; error?: unknown }>(
      'tricord:test.verb',
    );
    expect(
      await operations.trace(
        () => expect.unreachable(),
        async () => 'plain',
      ),
    ).toBe('plain');
    const seen: string[] = [];
    const subscribers = {
      start: () => void seen.push('start'),
      end: () => void seen.push('end'),
      asyncStart: () => void seen.push('asyncStart'),
      asyncEnd: ({ result, error }: { result?: unknown; error?: unknown }) =>
        void seen.push(`asyncEnd ${String(result ?? error)}`),
      error: () => void seen.push('error'),
    };
    const tracing = tracingChannel(operations.name);
    tracing.subscribe(subscribers as never);
    await operations.trace(
      () => ({ n: 1 }),
      async () => 'value',
    );
    const failure = new Error('x');
    const failing = operations.trace(
      () => ({ n: 2 }),
      () => Promise.reject(failure),
    );
    await expect(failing).rejects.toBe(failure);
    tracing.unsubscribe(subscribers as never);
    expect(seen).toContain('asyncEnd value');
    expect(seen).toContain('asyncEnd Error: x');
    expect(seen.filter((each) => each === 'error')).toHaveLength(1);
  });
});

describe('chance', () => {
  test('a seed repeats itself, and stays inside its range', () => {
    const draw = (seed: number) => {
      const random = seededRandom(seed);
      return [random.fraction(), random.fraction(), random.token(20)];
    };
    expect(draw(42)).toEqual(draw(42));
    expect(draw(42)).not.toEqual(draw(43));
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const fraction = seededRandom(seed).fraction();
        expect(fraction >= 0 && fraction < 1).toBe(true);
      }),
    );
  });

  test('tokens use all 64 characters evenly', () => {
    for (const random of [seededRandom(7), systemRandom]) {
      const counts = new Map<string, number>();
      for (const character of random.token(64_000)) {
        counts.set(character, (counts.get(character) ?? 0) + 1);
      }
      expect(counts.size).toBe(64);
      expect(Math.min(...counts.values())).toBeGreaterThan(800);
      expect(Math.max(...counts.values())).toBeLessThan(1_200);
    }
  });
});

test('a back-off grows to its bound and is at least half of it', () => {
  const options = { baseMs: 10, maxMs: 1_000 };
  const random = seededRandom(1);
  for (const [attempt, bound] of [
    [0, 10],
    [1, 20],
    [6, 640],
    [7, 1_000],
    [5_000, 1_000],
  ] as const) {
    const ms = backoffMs(attempt, options, random);
    expect(ms).toBeGreaterThanOrEqual(bound / 2);
    expect(ms).toBeLessThanOrEqual(bound);
  }
});

test('guarantees are ordered, and a chain promises what its weakest part does', () => {
  expect(guaranteeAtLeast('failover', 'power-loss')).toBe(true);
  expect(guaranteeAtLeast('process', 'power-loss')).toBe(false);
  expect(weakestGuarantee(['failover', 'process', 'power-loss'])).toBe('process');
  expect(weakestGuarantee([])).toBe('none');
  expect(GUARANTEE_LEVELS).toHaveLength(4);
});

test('a histogram tells quantiles to 7 %, and the longest exactly', () => {
  expect(histogram().summary()).toEqual({ count: 0, p50: 0, p99: 0, max: 0 });
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.01, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 300 }),
      (values) => {
        const durations = histogram();
        for (const value of values) durations.record(value);
        const sorted = values.toSorted((a, b) => a - b);
        const exact = (part: number) => sorted[Math.ceil(sorted.length * part) - 1] ?? 0;
        const { count, p50, p99, max } = durations.summary();
        expect([count, max]).toEqual([values.length, sorted.at(-1)]);
        expect(Math.abs(p50 / exact(0.5) - 1)).toBeLessThan(0.07);
        expect(Math.abs(p99 / exact(0.99) - 1)).toBeLessThan(0.07);
      },
    ),
  );
});
