import { describe, expect, test } from 'vitest';
import { CoordinationError } from '../../../src/core/errors.js';
import type { Guarantees } from '../../../src/core/guarantees.js';
import { memoryParticipant } from '../../../src/drivers/memory/participant.js';
import { memoryTransactions } from '../../../src/drivers/memory/transactions.js';
import type {
  TransactionCoordinatorOptions,
  TransactionOptions,
} from '../../../src/transaction/coordinator.js';
import { createTransactionCoordinator } from '../../../src/transaction/create-coordinator.js';
import type { DecisionLog } from '../../../src/transaction/decision-log.js';
import type { Participant } from '../../../src/transaction/participant.js';

const stock = memoryParticipant({ name: 'stock' });
const log = memoryTransactions();
const create = (options: object = {}) =>
  createTransactionCoordinator({
    log,
    participants: [stock],
    sweepMs: Number.POSITIVE_INFINITY,
    ...options,
  } as TransactionCoordinatorOptions);

/** The log, with the name of every operation that is sent to it. */
const recorded = (sent: string[]): DecisionLog => ({
  ...log,
  open: (node) =>
    new Proxy(log.open(node), {
      get(session, name) {
        sent.push(String(name));
        return Reflect.get(session, name);
      },
    }),
});

describe('a coordinator refuses ill-formed options with the value and what to pass', () => {
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ log: undefined }, /^log is undefined; pass a decision log/],
    [{ log: { open: () => {}, authority: 'much too long' } }, /^log is/],
    [{ participants: undefined }, /^participants is undefined; pass a list/],
    [{ participants: [{}] }, /^participants\[0\] is \{\}; pass a participant/],
    [{ participants: [{ ...stock, name: 'a b' }] }, /^participants\[0\]\.name is 'a b'; pass 1 to/],
    [{ participants: [stock, stock] }, /^participants\[1\]\.name is 'stock'; pass a name that no/],
    [{ nodeId: '' }, /^nodeId is ''; pass a non-empty/],
    [{ namespace: 'with space' }, /^namespace is 'with space'; pass 1 to 10/],
    [{ timeoutMs: Number.NaN }, /^timeoutMs is NaN; pass a number from 1/],
    [{ timeoutMs: Number.POSITIVE_INFINITY }, /^timeoutMs is Infinity/],
    [{ sweepMs: 0 }, /^sweepMs is 0; pass a number from 10/],
    [{ requireGuarantee: 'all' }, /^requireGuarantee is 'all'; pass none, process/],
    [{ acceptRisk: 'yes' }, /^acceptRisk is 'yes'; pass true or false/],
  ];
  for (const [options, message] of cases) {
    test(String(message), () => {
      expect(() => create(options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
      expect(() => create(options)).toThrow(message);
    });
  }
});

describe('a transaction is refused before anything is sent', () => {
  const cases: readonly (readonly [object, unknown, RegExp])[] = [
    [{}, () => 1, /^resourceId is undefined; pass a non-empty/],
    [{ resourceId: '\ud800' }, () => 1, /lone surrogate/],
    [{ resourceId: 'ü'.repeat(600) }, () => 1, /this one has 1200/],
    [{ resourceId: 'o', timeoutMs: 0 }, () => 1, /^timeoutMs is 0/],
    [{ resourceId: 'o', timeoutMs: 90_000_000 }, () => 1, /^timeoutMs is 90000000/],
    [{ resourceId: 'o', protocol: 'one-phase' }, () => 1, /^protocol is 'one-phase'; pass/],
    [{ resourceId: 'o', waitFor: 'ever' }, () => 1, /^waitFor is 'ever'; pass 'applied'/],
    [{ resourceId: 'o', signal: {} }, () => 1, /^signal is \{\}; pass an AbortSignal/],
    [{ resourceId: 'o' }, undefined, /^body is undefined; pass a function/],
  ];
  for (const [options, body, message] of cases) {
    test(String(message), async () => {
      const sent: string[] = [];
      const coordinator = create({ log: recorded(sent) });
      const running = coordinator.run(options as TransactionOptions, body as () => number);
      await expect(running).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      await expect(running).rejects.toThrow(message);
      expect(sent).toEqual([]);
      expect(coordinator.stats()).toMatchObject({
        inFlightCount: 0,
        committedCount: 0,
      });
    });
  }

  test('a drainMs that is no time is refused', async () => {
    await expect(create().close({ drainMs: -1 })).rejects.toThrow(/^drainMs is -1; pass/);
  });

  test('names of participants and limits of the memory drivers are checked', () => {
    expect(() => memoryParticipant({ name: 'a/b' })).toThrow(/^name is 'a\/b'; pass 1 to 64/);
    expect(() => memoryTransactions({ unacknowledgedMax: 0 })).toThrow(/^unacknowledgedMax is 0/);
  });
});

describe('guarantees', () => {
  const given = (changes: Partial<Guarantees>): Guarantees => ({
    subject: 'redis',
    survives: 'process',
    promises: [],
    warnings: ['appendfsync is everysec; set it to always'],
    settings: { appendfsync: 'everysec' },
    ...changes,
  });
  const logWith = (changes: Partial<Guarantees>): DecisionLog => ({
    ...log,
    open: (node) => ({
      ...log.open(node),
      guarantees: async () => given(changes),
    }),
  });
  const participantWith = (guarantees: Participant['guarantees']): Participant =>
    ({ ...stock, guarantees }) as Participant;

  test('the promise is the weakest of the log and all participants, each named', async () => {
    const strong = participantWith(async () => given({ subject: 'pg', survives: 'failover' }));
    const coordinator = create({ log: logWith({}), participants: [strong] });
    const { survives, warnings, settings, parts } = await coordinator.guarantees();
    expect(survives).toBe('process');
    expect(warnings[0]).toBe('redis: appendfsync is everysec; set it to always');
    expect(settings['redis: appendfsync']).toBe('everysec');
    expect(parts.map(({ subject }) => subject)).toEqual(['redis', 'pg']);
  });

  test('a log below requireGuarantee is refused with the setting to change, before the body', async () => {
    const coordinator = create({
      log: logWith({}),
      requireGuarantee: 'power-loss',
    });
    let hasBegun = false;
    const running = coordinator.run({ resourceId: 'o' }, () => {
      hasBegun = true;
    });
    await expect(running).rejects.toMatchObject({
      code: 'GUARANTEE_REFUSED',
      details: { required: 'power-loss', given: 'process' },
    });
    await expect(running).rejects.toThrow(/appendfsync is everysec; set it to always/);
    expect(hasBegun).toBe(false);
    expect(coordinator.stats().inFlightCount).toBe(0);
  });

  test('a setting that breaks the promise is refused, unless the risk is accepted', async () => {
    const refusals = ['maxmemory-policy is allkeys-lru; set it to noeviction'];
    const refusing = create({ log: logWith({ refusals }) });
    const running = refusing.run({ resourceId: 'o' }, () => 1);
    await expect(running).rejects.toMatchObject({
      code: 'GUARANTEE_REFUSED',
      details: { reasons: refusals },
    });
    await expect(running).rejects.toThrow(/set it to noeviction; .*acceptRisk: true/);
    const risking = create({ log: logWith({ refusals }), acceptRisk: true });
    expect(await risking.commit({ resourceId: 'o' }, () => 1)).toBe(1);
  });

  test('acceptRisk lifts no demand: requireGuarantee is a level that was asked for', async () => {
    const demands = {
      requireGuarantee: 'power-loss',
      acceptRisk: true,
    } as const;
    const coordinator = create({ log: logWith({}), ...demands });
    await expect(coordinator.run({ resourceId: 'o' }, () => 1)).rejects.toMatchObject({
      code: 'GUARANTEE_REFUSED',
    });
  });

  test('a participant that cannot prepare is refused when it is enlisted, the others go on', async () => {
    const details = {
      backend: 'postgres',
      setting: 'max_prepared_transactions',
      found: '0',
      needed: '100',
    };
    const broken = participantWith(async () => {
      throw new CoordinationError('BACKEND_UNSUPPORTED', 'set max_prepared_transactions', details);
    });
    const coordinator = create({ participants: [broken] });
    expect(await coordinator.commit({ resourceId: 'o' }, () => 'without it')).toBe('without it');
    const running = coordinator.commit({ resourceId: 'o' }, (tx) => tx.enlist(broken));
    await expect(running).rejects.toMatchObject({
      code: 'BACKEND_UNSUPPORTED',
    });
  });
});
