import type { Guarantees } from '../../../core/guarantees.js';
import type { RedisCallOptions } from '../calls.js';
import { unavailable } from '../errors.js';
import { evicts, type RedisSettings, readRedisSettings, versionAtLeast } from '../guarantees.js';
import type { QuorumContext } from './context.js';
import { majorityOf } from './rules.js';

/** The settings of each node; undefined of one that did not answer. */
export type NodeSettings = readonly (RedisSettings | undefined)[];

/** Reads all nodes. Rejects with BACKEND_UNAVAILABLE when none answers. */
export async function readQuorumGuarantees(
  { nodes, times }: QuorumContext,
  options: RedisCallOptions | undefined,
): Promise<Guarantees> {
  const settings = await Promise.all(
    nodes.map(({ calls }) => readRedisSettings(calls, options).catch(() => undefined)),
  );
  options?.signal?.throwIfAborted();
  if (settings.every((one) => one === undefined)) {
    throw unavailable('lock.guarantees', 'no node answers');
  }
  return quorumGuarantees(settings, times.ttlMsMax);
}

/** What a lock on these nodes promises. Pure. */
export function quorumGuarantees(settings: NodeSettings, ttlMsMax: number): Guarantees {
  const majority = majorityOf(settings.length);
  const spare = settings.length - majority;
  const warnings = settings.flatMap((one, index) => nodeWarnings(one, index + 1, ttlMsMax));
  const answered = settings.filter((one) => one !== undefined);
  const isSafe = answered.every((one) => !evicts(one)) && answered.length >= majority;
  return {
    subject: 'redis quorum lock',
    survives: isSafe ? 'failover' : 'none',
    promises: [
      `At most one holder of an exclusive lock, while no more than ${spare} of ${settings.length} nodes lose their state within ${ttlMsMax} ms, and no node's clock jumps.`,
      `Locks are granted and renewed while ${majority} of ${settings.length} nodes answer and are in service.`,
      `Fencing tokens increase over the grants of a resource; after a node lost its state, as long as the nodes' clocks differ by less than ${ttlMsMax} ms.`,
      'Waiters are served by the time of their arrival, as the nodes’ clocks tell it.',
    ],
    warnings,
    settings: Object.fromEntries(settings.flatMap((one, index) => namedSettings(one, index + 1))),
  };
}

function nodeWarnings(
  settings: RedisSettings | undefined,
  number: number,
  ttlMsMax: number,
): string[] {
  if (settings === undefined) return [`Node ${number} does not answer.`];
  const warnings: string[] = [];
  const { role, redis_version: version, 'maxmemory-policy': policy } = settings;
  if (evicts(settings)) {
    warnings.push(
      `Node ${number} may evict a vote that somebody relies on (maxmemory-policy is ${policy}): set it to noeviction.`,
    );
  }
  if (versionAtLeast(version, 6, 2) === false) {
    warnings.push(`Node ${number} is Redis ${version}: upgrade it to 6.2 or newer.`);
  }
  if (role !== 'master') {
    warnings.push(`Node ${number} has the role ${role}: connect to an independent master.`);
  }
  if (settings.redis_mode === 'cluster') {
    warnings.push(`Node ${number} is part of a cluster, where a fail-over forgets votes.`);
  }
  if (settings.connected_slaves !== '0' && settings.connected_slaves !== 'unknown') {
    warnings.push(
      `Node ${number} has replicas: after a fail-over it stays out for ${ttlMsMax} ms, as after a restart.`,
    );
  }
  return warnings;
}

function namedSettings(settings: RedisSettings | undefined, number: number): [string, string][] {
  if (settings === undefined) return [[`node ${number}`, 'unknown']];
  return Object.entries(settings).map(([name, value]) => [`node ${number} ${name}`, String(value)]);
}
