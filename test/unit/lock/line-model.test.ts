/**
 * Goal: the rules by which a backend serves a line in every mode are enough, and each is needed.
 * Method: all states of a few clients (see line-model.ts), without a fault and with each.
 */

import { describe, expect, test } from 'vitest';
import { type Client, explore, type Fault } from './line-model.js';

const writer: Client = { mode: 'exclusive', permits: 1 };
const reader: Client = { mode: 'shared', permits: 1 };
const counter = (permits: number): Client => ({ mode: 'counting', permits });

/** Readers and writers; permits of which some ask for many. */
const LINES: readonly { readonly clients: readonly Client[]; readonly capacity: number }[] = [
  { clients: [writer, reader, reader, writer], capacity: 1 },
  { clients: [reader, writer, reader, reader], capacity: 1 },
  { clients: [counter(1), counter(2), counter(3), counter(1)], capacity: 3 },
];

describe('a line in every mode', () => {
  test('keeps exclusion, capacity, order, wake-ups and tokens in every state', () => {
    for (const { clients, capacity } of LINES) {
      const { states, violation } = explore(clients, capacity);
      expect(violation).toBeUndefined();
      expect(states).toBeGreaterThan(100);
    }
  });

  const faults: readonly [Fault, RegExp][] = [
    ['readers-pass-a-writer', /^starvation/],
    ['small-pass-large', /^starvation/],
    ['one-reader-a-release', /^lost wake-up/],
    ['cancel-grants-nobody', /^lost wake-up/],
    ['expiry-grants-nobody', /^lost wake-up/],
    ['acquire-twice-holds-twice', /^(twice|capacity|starvation)/],
    ['acquire-after-cancel', /^gone/],
    ['epoch-of-its-own', /^epoch/],
    ['epoch-is-the-first-token', /^epoch/],
    ['downgrade-keeps-first-token', /^epoch/],
    ['downgrade-grants-nobody', /^lost wake-up/],
    ['downgrade-lets-go', /^let go/],
  ];
  for (const [fault, expected] of faults) {
    test(`is found out when it has the fault ${fault}`, () => {
      const found = LINES.map(
        ({ clients, capacity }) => explore(clients, capacity, fault).violation,
      );
      expect(found.find((violation) => violation !== undefined)).toMatch(expected);
    });
  }
});
