import { abortable } from '../../core/abort.js';
import type { GuaranteeLevel, Guarantees } from '../../core/guarantees.js';
import type { Connection } from './connection.js';

/** Which part asks. */
export type GuaranteeSubject = 'lock' | 'log';

const PROMISES: Readonly<Record<GuaranteeSubject, readonly string[]>> = {
  lock: [
    'At most one exclusive lease of a resource is valid at a time, as long as clocks run at the same rate.',
    'Fencing tokens increase strictly from grant to grant.',
    'Nodes are served in the order in which they asked.',
  ],
  log: [
    'A decision is recorded by a majority of the ensemble before it is reported.',
    'A fenced incarnation decides no more.',
  ],
};

/**
 * What the ensemble promises, as far as a client can see: its size stands in the configuration node.
 * Whether servers write to disk before they answer (`forceSync`) cannot be read, so it does not count.
 */
export async function ensembleGuarantees(
  connection: Connection,
  subject: GuaranteeSubject,
  signal?: AbortSignal,
): Promise<Guarantees> {
  const live = await connection.current('read the guarantees', { signal });
  const config = await abortable(live.ask.config(), signal);
  const servers = config.ok ? membersOf(config.value.data.toString('utf8')) : undefined;
  const size = servers === 0 ? 1 : servers;
  const tolerated = size === undefined ? 0 : Math.floor((size - 1) / 2);
  const survives: GuaranteeLevel = tolerated > 0 ? 'failover' : 'process';
  const warnings = [
    'Whether forceSync is on cannot be read through the client; with forceSync=no a power failure of ' +
      'a majority loses what was acknowledged.',
  ];
  if (size === undefined) {
    warnings.push('The configuration node could not be read: the ensemble counts as one server.');
  } else if (tolerated === 0) {
    warnings.push('One server has no majority to fail over to: run three or five.');
  }
  return {
    subject: `zookeeper ${subject}`,
    survives,
    promises: [
      ...PROMISES[subject],
      tolerated > 0
        ? `What was acknowledged survives the loss of ${tolerated} of ${size} servers.`
        : 'What was acknowledged survives a restart of the server.',
    ],
    warnings,
    settings: {
      servers: size === undefined ? 'unknown' : String(size),
      sessionTimeoutMs: String(live.timeoutMs),
      forceSync: 'unknown',
    },
  };
}

/** Voting members in the text of `/zookeeper/config`; 0 for a server that stands alone. */
function membersOf(config: string): number {
  return config.split('\n').filter((line) => /^server\.\d+=/.test(line) && !/:observer/.test(line))
    .length;
}
