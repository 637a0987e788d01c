import type { SiteTransport } from '../../transaction/three-phase/site-transport.js';

/**
 * Messages between sites of this process: for tests and demonstrations. Sites that are given the same
 * object hear each other; what is sent to a site that does not listen is lost.
 */
export function memoryTransport(): SiteTransport {
  const listeners = new Map<string, (text: string) => void>();
  return {
    backend: 'memory',
    open({ namespace, site, clock }, receive) {
      const keyOf = (name: string): string => `${namespace} ${name}`;
      listeners.set(keyOf(site), receive);
      return {
        async send(to, text) {
          // Later, like everything that comes over a network.
          clock.schedule(0, () => listeners.get(keyOf(to))?.(text), { keepAlive: false });
        },
        async close() {
          if (listeners.get(keyOf(site)) === receive) listeners.delete(keyOf(site));
        },
      };
    },
  };
}
