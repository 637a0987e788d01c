import { CoordinationError } from '../../../src/core/errors.js';
import { type Random, seededRandom } from '../../../src/core/random.js';
import { memorySiteStorage } from '../../../src/drivers/memory/site-storage.js';
import { memoryTransport } from '../../../src/drivers/memory/site-transport.js';
import { type VirtualClock, virtualClock } from '../../../src/testing/virtual-clock.js';
import type { Participant } from '../../../src/transaction/participant.js';
import { createTransactionSite } from '../../../src/transaction/three-phase/create-site.js';
import { siteDeskOf } from '../../../src/transaction/three-phase/site-desk.js';
import { decodeFrame, encodeFrame } from '../../../src/transaction/three-phase/site-letters.js';
import type { SiteMessage } from '../../../src/transaction/three-phase/site-message.js';
import type { SiteStorage, SiteStore } from '../../../src/transaction/three-phase/site-storage.js';
import type { SiteTransport } from '../../../src/transaction/three-phase/site-transport.js';
import type { SiteSeat, SiteWork } from '../../../src/transaction/three-phase/site-work.js';
import type {
  TransactionSite,
  TransactionSiteOptions,
} from '../../../src/transaction/three-phase/transaction-site.js';

/** What may go wrong between sites, and with their disks. */
export interface Weather {
  /** Whether a letter is lost. */
  loses(from: string, to: string, message: SiteMessage): boolean;
  /** How long a letter is under way, in milliseconds. */
  delayMs(): number;
  /** How often it arrives. */
  copies(): number;
  /** Whether the reply of a write is lost; the write itself stands. */
  losesReply(): boolean;
}

export const CALM: Weather = {
  loses: () => false,
  delayMs: () => 1,
  copies: () => 1,
  losesReply: () => false,
};

/** One branch of a transaction in a site's resource. */
export type BranchState = 'working' | 'prepared' | 'committed' | 'aborted';

/** A site with the resource behind it, which survives its crashes. */
export interface StagedSite {
  readonly name: string;
  readonly resource: Map<string, BranchState>;
  site: TransactionSite;
  /** The process dies: nothing it was about to do happens. */
  crash(): Promise<void>;
  /** The next life, over the same storage and resource. */
  restart(): void;
}

/** Sites that talk to each other on a virtual clock. */
export interface SiteStage {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly sites: readonly StagedSite[];
  readonly sent: SiteMessage[];
  weather: Weather;
  /** Begins a transaction at all sites; the first one coordinates. `no`: sites that vote no. */
  begin(id: string, no?: readonly number[]): Promise<readonly [SiteSeat, ...SiteSeat[]]>;
  /** One of the sites. */
  at(index: number): StagedSite;
  close(): Promise<void>;
}

/** So many sites over one transport. */
export function siteStage(
  count: number,
  seed = 1,
  options: Partial<TransactionSiteOptions> = {},
): SiteStage {
  const clock = virtualClock();
  const random = seededRandom(seed);
  const sent: SiteMessage[] = [];
  const transport = memoryTransport();
  const names = Array.from({ length: count }, (_, index) => `site-${index}`);
  const stage: SiteStage = {
    clock,
    random,
    sent,
    weather: CALM,
    sites: names.map((name) =>
      stagedSite(
        { ...options, name, clock, random, transport: stormy(transport, () => stage) },
        () => stage.weather.losesReply(),
      ),
    ),
    async begin(id, no = []) {
      const seats: SiteSeat[] = [];
      for (const [index, each] of stage.sites.entries()) {
        const work = workOf(each, id, no.includes(index));
        if (index > 0) seats.push(await siteDeskOf(each.site).join(id, work));
      }
      const first = stage.at(0);
      const work = workOf(first, id, no.includes(0));
      return [await siteDeskOf(first.site).lead(id, names.slice(1), work), ...seats];
    },
    at(index) {
      const site = stage.sites[index];
      if (site === undefined) throw new Error(`there is no site ${index}`);
      return site;
    },
    async close() {
      for (const { site } of stage.sites) await site.close();
    },
  };
  return stage;
}

function stagedSite(
  options: Partial<TransactionSiteOptions> & {
    readonly name: string;
    readonly transport: SiteTransport;
  },
  losesReply: () => boolean,
): StagedSite {
  const { name } = options;
  const resource = new Map<string, BranchState>();
  const disk = memorySiteStorage();
  let life = { isDown: false };
  const open = (): TransactionSite => {
    life = { isDown: false };
    const storage = mortal(disk, life, losesReply);
    const site = createTransactionSite({ electionMs: 1_000, ...options, storage });
    siteDeskOf(site).attach(new Map([[name, participantOf(name, resource, life)]]));
    return site;
  };
  const staged: StagedSite = {
    name,
    resource,
    site: open(),
    async crash() {
      life.isDown = true;
      await staged.site.close();
    },
    restart() {
      staged.site = open();
    },
  };
  return staged;
}

/** Work that prepares one branch. */
function workOf({ name, resource }: StagedSite, id: string, isNo: boolean): SiteWork {
  const branchId = `${id}.${name}`;
  resource.set(branchId, 'working');
  return {
    branches: [{ participant: name, branchId, evidence: '' }],
    timeoutMs: 5_000,
    async vote() {
      await Promise.resolve();
      if (isNo) return { vote: 'no', reason: 'it would rather not' };
      if (resource.get(branchId) !== 'working') return { vote: 'no', reason: 'it has ended' };
      resource.set(branchId, 'prepared');
      return { vote: 'yes', branches: [{ participant: name, branchId, evidence: 'e' }] };
    },
    async finish(outcome) {
      resource.set(branchId, outcome);
    },
  };
}

function participantOf(
  name: string,
  resource: Map<string, BranchState>,
  life: { readonly isDown: boolean },
): Participant {
  const end = (outcome: 'committed' | 'aborted') => async (branch: { branchId: string }) => {
    if (life.isDown) throw new Error('this process is dead');
    const state = resource.get(branch.branchId);
    if (state !== 'prepared' && state !== 'working' && state !== outcome) {
      throw new Error(`${branch.branchId} is ${state}, to be ${outcome}`);
    }
    resource.set(branch.branchId, outcome);
  };
  return { name, commit: end('committed'), abort: end('aborted') } as unknown as Participant;
}

/** A disk that a dead process can write no more. */
function mortal(
  disk: SiteStorage,
  life: { readonly isDown: boolean },
  losesReply: () => boolean,
): SiteStorage {
  return {
    backend: disk.backend,
    open(node) {
      const store = disk.open(node);
      const write: SiteStore['write'] = async (record, options) => {
        if (life.isDown) throw new Error('this process is dead');
        const answer = await store.write(record, options);
        if (losesReply()) throw replyLost();
        return answer;
      };
      return { ...store, write };
    },
  };
}

/** A transport in the stage's weather. */
function stormy(transport: SiteTransport, stage: () => SiteStage): SiteTransport {
  return {
    backend: transport.backend,
    open(node, receive) {
      const line = transport.open(node, receive);
      return {
        async send(to, text) {
          const frame = decodeFrame(text);
          for (const letter of frame?.letters ?? []) {
            const { weather, clock, sent } = stage();
            sent.push(letter.message);
            if (weather.loses(node.site, to, letter.message)) continue;
            for (let copy = weather.copies(); copy > 0; copy -= 1) {
              const single = encodeFrame({ from: node.site, letters: [letter] });
              clock.schedule(weather.delayMs(), () => void line.send(to, single));
            }
          }
        },
        close: () => line.close(),
      };
    },
  };
}

/** An error as a storage gives it whose reply was lost. */
function replyLost(): Error {
  const details = { backend: 'memory', operation: 'write' };
  return new CoordinationError('RESULT_UNKNOWN', 'the reply was lost', details);
}
