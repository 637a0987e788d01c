import { throwIfAborted } from '../../core/abort.js';
import type { Guarantees } from '../../core/guarantees.js';
import type {
  SiteNode,
  SiteStorage,
  SiteStore,
  StoredSite,
} from '../../transaction/three-phase/site-storage.js';

const GUARANTEES: Guarantees = {
  subject: 'memory site',
  survives: 'none',
  promises: ['a site that is opened again in this process finds what it had written'],
  warnings: [
    'votes end with this process; use postgresSiteStorage or redisSiteStorage where a branch ' +
      'outlives it',
  ],
  settings: {},
};

/**
 * The storage of sites in this process: for tests and demonstrations. A site that is opened again over
 * the same object finds its records; nothing survives the process.
 */
export function memorySiteStorage(): SiteStorage {
  const sites = new Map<string, Map<string, StoredSite>>();
  return {
    backend: 'memory',
    open: ({ namespace, site }: SiteNode) => {
      const key = `${namespace} ${site}`;
      const records = sites.get(key) ?? new Map<string, StoredSite>();
      sites.set(key, records);
      return memorySiteStore(records);
    },
  };
}

function memorySiteStore(records: Map<string, StoredSite>): SiteStore {
  /** Every operation answers later and honours its signal, as one over a network does. */
  const step = async <T>(signal: AbortSignal | undefined, operation: () => T): Promise<T> => {
    throwIfAborted(signal);
    await Promise.resolve();
    return operation();
  };
  return {
    write: (record, options) =>
      step(options?.signal, () => {
        const { transactionId, version, text } = record;
        const known = records.get(transactionId);
        if (known?.version === version && known.text === text) return 'written';
        if ((known?.version ?? 0) !== version - 1) return 'conflict';
        records.set(transactionId, { transactionId, version, text });
        return 'written';
      }),
    read: (transactionId, options) => step(options?.signal, () => records.get(transactionId)),
    list: (after, limit, options) =>
      step(options?.signal, () =>
        Array.from(records.values())
          .filter(({ transactionId }) => transactionId > after)
          .sort((a, b) => (a.transactionId < b.transactionId ? -1 : 1))
          .slice(0, limit),
      ),
    remove: (transactionId, version, options) =>
      step(options?.signal, () => {
        if (records.get(transactionId)?.version === version) records.delete(transactionId);
      }),
    guarantees: (options) => step(options?.signal, () => GUARANTEES),
    close: async () => {},
  };
}
