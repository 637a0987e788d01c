import { describe, expect, test } from 'vitest';
import { explore } from '../transaction/explore.js';
import { type PipelineOptions, pipelineModel } from './pipeline-model.js';

/**
 * Goal: why the owner of a head has one write in flight, and what more would take. Method: all
 * reachable states of a small model of the head, lost connections and late writes included.
 */
describe('versioned writes of a head', () => {
  const base = { decisions: 3, lossesMax: 1, leapWrites: 0 };
  const play = (options: Partial<PipelineOptions>) =>
    explore(pipelineModel({ inFlightMax: 1, fenceWrites: 1, ...base, ...options }));

  test('one in flight: a fence is one write, and nothing gets past it, whatever is lost', () => {
    const { violation, stateCount } = play({ lossesMax: 2 });
    expect(violation).toBeUndefined();
    expect(stateCount).toBeGreaterThan(100);
  });

  test('two in flight: the fence makes true what the second one expects, and is overwritten', () => {
    const { violation } = play({ inFlightMax: 2, lossesMax: 0 });
    expect(violation?.what).toMatch(/recorded after the fence/);
    expect(violation?.trace).toContain('recoverer writes');
  });

  test.each([2, 3])(
    '%i in flight hold when a fence is as many writes in a row, without losses',
    (depth) => {
      expect(
        play({ inFlightMax: depth, fenceWrites: depth, lossesMax: 0 }).violation,
      ).toBeUndefined();
      expect(
        play({ inFlightMax: depth, fenceWrites: depth - 1, lossesMax: 0 }).violation,
      ).toBeDefined();
    },
  );

  test('with a lost connection a late write undoes what was answered since', () => {
    const { violation } = play({ inFlightMax: 2, fenceWrites: 2 });
    expect(violation?.what).toMatch(/was answered, and is gone|recorded after the fence/);
  });

  test.each([2, 3])(
    '%i in flight hold when the owner, too, writes as often after a loss',
    (depth) => {
      const options = { inFlightMax: depth, fenceWrites: depth, leapWrites: depth, lossesMax: 2 };
      expect(play(options).violation).toBeUndefined();
      expect(play({ ...options, leapWrites: 0 }).violation).toBeDefined();
    },
  );
});
