import { afterEach, describe, expect, test } from 'vitest';
import { type Random, seededRandom } from '../../../src/core/random.js';
import { type SiteStage, siteStage, type Weather } from './three-phase-stage.js';

let stage: SiteStage;
afterEach(() => stage?.close());

const branchStates = (id: string) =>
  stage.sites.map(({ resource, name }) => resource.get(`${id}.${name}`));
const records = () => stage.sites.map(({ site }) => site.stats().recordCount);

describe('sites in fine weather', () => {
  test('commit with 6 messages a participant, and forget', async () => {
    stage = siteStage(4);
    const [seat] = await stage.begin('t1');
    await expect(stage.clock.runUntil(seat.decided)).resolves.toBe('committed');
    await stage.clock.advance(50);
    expect(branchStates('t1')).toEqual(Array(4).fill('committed'));
    const counts = stage.sent.filter(({ type }) => type !== 'forget').length;
    expect(counts).toBe(6 * 3);
    expect(stage.sites.map(({ site }) => site.stats().writtenCount)).toEqual(Array(4).fill(4));
    await stage.clock.advance(2_000);
    expect(records()).toEqual([0, 0, 0, 0]);
    await expect(stage.clock.runUntil(seat.ended)).resolves.toBeUndefined();
    expect(stage.clock.timerCount).toBe(0);
  });

  test('abort when one votes no, and say who', async () => {
    for (const no of [0, 1, 2]) {
      stage = siteStage(3);
      const [seat] = await stage.begin('t1', [no]);
      await expect(stage.clock.runUntil(seat.decided)).resolves.toBe('aborted');
      await stage.clock.advance(2_000);
      expect(branchStates('t1')).toEqual(Array(3).fill('aborted'));
      expect(records()).toEqual([0, 0, 0]);
      if (no === 0) expect(seat.refusal?.reason).toBe('it would rather not');
      else expect(seat.refusedBy).toBe(`site-${no}`);
    }
  });

  test('abort by themselves what no coordinator asks for, and answer for it when one does', async () => {
    stage = siteStage(3);
    const [seat] = await stage.begin('t1');
    stage.weather = { ...stage.weather, loses: (from) => from === 'site-0' };
    await stage.clock.advance(10_000);
    expect(branchStates('t1').slice(1)).toEqual(['aborted', 'aborted']);
    stage.weather = { ...stage.weather, loses: () => false };
    await expect(stage.clock.runUntil(seat.decided)).resolves.toBe('aborted');
    await stage.clock.advance(90_000);
    expect(records()).toEqual([0, 0, 0]);
  });

  test('give up before the attempt, and not after', async () => {
    stage = siteStage(3);
    const seats = await stage.begin('t1');
    seats[0].giveUp();
    await expect(stage.clock.runUntil(seats[0].decided)).resolves.toBe('aborted');
    const again = await stage.begin('t2');
    await stage.clock.runUntil(again[0].decided);
    again[0].giveUp();
    await stage.clock.advance(5_000);
    expect(branchStates('t2')).toEqual(Array(3).fill('committed'));
  });

  test('refuse more records than recordsMax, naming who is missing', async () => {
    stage = siteStage(3, 1, { recordsMax: 1 });
    stage.weather = { ...stage.weather, loses: (_, to) => to === 'site-2' };
    await stage.begin('t1');
    const error = await stage.begin('t2').catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'LOG_FULL', details: { limit: 1 } });
  });
});

describe('a coordinator that vanishes', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])(
    'after %i letters: the others decide without it, and it agrees when it is back',
    async (letters) => {
      stage = siteStage(3, letters);
      let count = 0;
      const isGone = () => count > letters;
      stage.weather = {
        ...stage.weather,
        loses: (from, to) => {
          if (from === 'site-0') count += 1;
          return isGone() && (from === 'site-0' || to === 'site-0');
        },
      };
      await stage.begin('t1');
      await stage.clock.advance(60_000);
      const [own, one, two] = branchStates('t1');
      expect([one, two]).toEqual(
        one === 'committed' ? ['committed', 'committed'] : ['aborted', 'aborted'],
      );
      stage.weather = { ...stage.weather, loses: () => false };
      await stage.at(0).crash();
      stage.at(0).restart();
      await stage.clock.advance(200_000);
      expect(branchStates('t1')).toEqual([one, one, one]);
      expect(own === undefined || own === one || own === 'prepared' || own === 'working').toBe(
        true,
      );
      expect(records()).toEqual([0, 0, 0]);
    },
  );
});

/** Everything goes wrong, at rates that leave something to decide. */
function storm(random: Random): Weather {
  return {
    loses: () => random.fraction() < 0.15,
    copies: () => (random.fraction() < 0.1 ? 2 : 1),
    delayMs: () => (random.fraction() < 0.1 ? 3_000 * random.fraction() : 5 * random.fraction()),
    losesReply: () => random.fraction() < 0.05,
  };
}

const SEEDS = Number(process.env.THREE_PHASE_SEEDS ?? 60);
const FIRST = Number(process.env.THREE_PHASE_SEED ?? 1);

test(
  `in ${SEEDS} storms with crashes all sites agree in the end, and forget`,
  async () => {
    const outcomes = { committed: 0, aborted: 0 };
    for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) {
      outcomes[await weathered(seed)] += 1;
    }
    expect(outcomes.committed).toBeGreaterThan(0);
    expect(outcomes.aborted).toBeGreaterThan(0);
  },
  20_000 + SEEDS * 200,
);

async function weathered(seed: number): Promise<'committed' | 'aborted'> {
  const random = seededRandom(seed);
  stage = siteStage(3 + (seed % 2), seed);
  stage.weather = storm(random);
  await stage.clock.runUntil(stage.begin('t1', random.fraction() < 0.2 ? [1] : []));
  for (let fault = 0; fault < 4; fault += 1) {
    await stage.clock.advance(random.fraction() * (fault === 0 ? 20 : 2_500));
    const victim = stage.at(Math.floor(random.fraction() * stage.sites.length));
    await victim.crash();
    await stage.clock.advance(random.fraction() * 3_000);
    victim.restart();
  }
  stage.weather = { ...stage.weather, loses: () => false, copies: () => 1, delayMs: () => 1 };
  await stage.clock.advance(600_000);
  const states = branchStates('t1');
  const told = `seed ${seed}: ${states.join()} ${records().join()}; THREE_PHASE_SEED=${seed}`;
  expect(new Set(states).size, told).toBe(1);
  expect(records(), told).toEqual(stage.sites.map(() => 0));
  expect(stage.sites.map(({ site }) => site.stats().contradictedCount)).toEqual(
    stage.sites.map(() => 0),
  );
  await stage.close();
  return states[0] as 'committed' | 'aborted';
}

describe('a site that is gone for good', () => {
  /** Three sites of which the last one dies after the decision was made. */
  const lost = async (isDeaf = false) => {
    stage = siteStage(3);
    stage.weather = {
      ...stage.weather,
      loses: (from, to, { type }) =>
        (to === 'site-2' && type === 'decided') || (isDeaf && from === 'site-1' && type === 'done'),
    };
    const [seat] = await stage.begin('t1');
    await stage.clock.runUntil(seat.decided);
    await stage.clock.advance(3_000);
  };
  const declare = () => {
    const declaring = stage.at(0).site.declareGone('site-2', { reason: 'its disk burnt' });
    declaring.catch(() => {});
    return stage.clock.runUntil(declaring);
  };

  test('is not waited for any more once an operator says so, after a restart neither', async () => {
    await lost();
    await stage.at(2).crash();
    expect(records().slice(0, 2)).toEqual([1, 1]);
    const answer = await declare();
    expect(answer).toEqual({
      ended: [{ transactionId: 't1', outcome: 'committed' }],
      undecided: [],
    });
    await stage.clock.advance(60_000);
    expect(records().slice(0, 2)).toEqual([0, 0]);
  });

  test('stays gone for a site that was told and has not heard of the others yet', async () => {
    await lost(true);
    await stage.at(2).crash();
    await stage.at(1).crash();
    await declare();
    await stage.at(0).crash();
    stage.at(0).restart();
    await stage.clock.advance(3_000);
    expect(stage.at(0).site.transactions()[0]?.pending).toEqual(['site-1']);
    stage.weather = { ...stage.weather, loses: () => false };
    stage.at(1).restart();
    await stage.clock.advance(120_000);
    expect(records().slice(0, 2)).toEqual([0, 0]);
  });

  test('is not gone when it answers, and what is undecided is left alone', async () => {
    await lost();
    stage.weather = { ...stage.weather, loses: () => false };
    await expect(declare()).rejects.toMatchObject({
      code: 'SITE_NOT_GONE',
      details: { site: 'site-2' },
    });
    await stage.clock.advance(60_000);
    expect(records()).toEqual([0, 0, 0]);
    stage.weather = { ...stage.weather, loses: (_, to) => to !== 'site-0' };
    await stage.begin('t2');
    await stage.clock.advance(100);
    await stage.at(2).crash();
    await stage.at(1).crash();
    expect(await declare()).toEqual({ ended: [], undecided: ['t2'] });
  });

  test('is named, with a reason', async () => {
    stage = siteStage(3);
    const { site } = stage.at(0);
    for (const [name, reason] of [
      ['site-0', 'itself'],
      ['no name', 'why'],
      ['site-2', ''],
    ] as const) {
      await expect(site.declareGone(name, { reason })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
    }
  });
});
