import assert from 'node:assert/strict';
import { sleep } from '../core/abort.js';
import { systemClock } from '../core/clock.js';
import { systemRandom } from '../core/random.js';
import type { SiteLine, SiteTransport } from '../transaction/three-phase/site-transport.js';
import type { ContractCase } from './contract.js';

/** What {@link siteTransportContract} is run on. */
export interface SiteTransportSubject {
  /** Opens the transport the way the process of this site would: with its own client. */
  open(site: string): OpenedSiteTransport | Promise<OpenedSiteTransport>;
  /** A message arrives within this when nothing fails, in milliseconds. Default 5,000. */
  readonly arrivesWithinMs?: number | undefined;
}

/** A transport as the subject of a contract opens it. */
export interface OpenedSiteTransport {
  /** What the cases open lines of. */
  readonly transport: SiteTransport;
  /** Lets go of what was opened for it; called after the line is closed. */
  close?(): Promise<void>;
}

/** One site that listens. */
interface Listener {
  readonly line: SiteLine;
  readonly heard: readonly string[];
  readonly close: () => Promise<void>;
}

interface Stage {
  listen(site: string, namespace?: string): Promise<Listener>;
  /** Sends again until it has arrived, as a site does. */
  arrives(from: Listener, to: readonly [string, Listener], text: string): Promise<void>;
}

type Play = (stage: Stage) => Promise<void>;

const LARGE = 65_536;

const cases: Readonly<Record<string, Play>> = {
  'a message arrives at its site as it was sent': async ({ listen, arrives }) => {
    const [one, two] = [await listen('one'), await listen('two-2.b')];
    for (const text of ['{"v":1}', 'ü🎻\'"{}\n$1 %00', 'x'.repeat(LARGE)]) {
      await arrives(one, ['two-2.b', two], text);
      await arrives(two, ['one', one], text);
    }
  },
  'a message arrives at no other site': async ({ listen, arrives }) => {
    const [one, two, three] = [await listen('one'), await listen('two'), await listen('three')];
    await arrives(one, ['two', two], 'for two');
    await arrives(one, ['three', three], 'for three');
    assert.ok(!three.heard.includes('for two'));
    assert.ok(!one.heard.includes('for two'));
  },
  'many messages at once arrive': async ({ listen, arrives }) => {
    const [one, two] = [await listen('one'), await listen('two')];
    const texts = Array.from({ length: 200 }, (_, index) => `message ${index}`);
    await Promise.all(texts.map((text) => arrives(one, ['two', two], text)));
  },
  'a message to a site that nobody is fails, or is lost': async ({ listen, arrives }) => {
    const [one, two] = [await listen('one'), await listen('two')];
    await one.line.send('nobody', 'hello').catch(() => {});
    await arrives(one, ['two', two], 'still here');
  },
  'a site that was away hears what is sent after it is back': async ({ listen, arrives }) => {
    const [one, two] = [await listen('one'), await listen('two')];
    await arrives(one, ['two', two], 'before');
    await two.close();
    await one.line.send('two', 'meanwhile').catch(() => {});
    const again = await listen('two');
    await arrives(one, ['two', again], 'after');
  },
  'after close nothing is heard any more': async ({ listen, arrives }) => {
    const [one, two] = [await listen('one'), await listen('two')];
    await arrives(one, ['two', two], 'before');
    await two.close();
    const count = two.heard.length;
    await one.line.send('two', 'late').catch(() => {});
    await sleep(systemClock, 100);
    assert.equal(two.heard.length, count);
  },
};

/**
 * The contract of a `SiteTransport` as cases for any test runner, against a real backend. The cases
 * send again until a message has arrived, because a transport may lose some.
 *
 * ```ts
 * for (const { name, run } of siteTransportContract(subject)) test(name, run);
 * ```
 */
export function siteTransportContract(subject: SiteTransportSubject): readonly ContractCase[] {
  return Object.entries(cases).map(([name, play]) => ({
    name,
    run: () => onStage(subject, play),
  }));
}

async function onStage(subject: SiteTransportSubject, play: Play): Promise<void> {
  const { arrivesWithinMs = 5_000 } = subject;
  const cleanups: (() => Promise<void>)[] = [];
  const namespace = `k${systemRandom.token(8)}`;
  const listen = async (site: string): Promise<Listener> => {
    const opened = await subject.open(site);
    const heard: string[] = [];
    const node = { site, namespace, clock: systemClock, random: systemRandom };
    const line = opened.transport.open(node, (text) => heard.push(text));
    let isClosed = false;
    const close = async (): Promise<void> => {
      if (isClosed) return;
      isClosed = true;
      await line.close();
      await opened.close?.();
    };
    cleanups.push(close);
    return { line, heard, close };
  };
  const arrives: Stage['arrives'] = async (from, [name, to], text) => {
    const untilMs = systemClock.monotonicMs() + arrivesWithinMs;
    for (let nextMs = 0; !to.heard.includes(text); ) {
      assert.ok(systemClock.monotonicMs() < untilMs, `not heard within ${arrivesWithinMs} ms`);
      if (systemClock.monotonicMs() >= nextMs) {
        from.line.send(name, text).catch(() => {});
        nextMs = systemClock.monotonicMs() + arrivesWithinMs / 10;
      }
      await sleep(systemClock, 5);
    }
  };
  try {
    await play({ listen, arrives });
  } finally {
    for (const cleanup of cleanups) await cleanup();
  }
}
