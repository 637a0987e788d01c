import { backoffMs } from '../../core/backoff.js';
import { boundedCall } from '../host.js';
import { type SiteHost, siteFailed } from './site-host.js';
import type { StoredSite } from './site-storage.js';

const WRITE_BACKOFF = { baseMs: 20, maxMs: 1_000 };

/** Writes until it is known that it stands, or that another record does. */
export async function written(host: SiteHost, record: StoredSite): Promise<'written' | 'conflict'> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const answer = await boundedCall(host.clock, { signals: [host.stopped] }, (signal) =>
        host.store.write(record, { signal }),
      );
      host.counts.written();
      return answer;
    } catch (error) {
      if (host.stopped.aborted) throw host.stopped.reason;
      siteFailed(host, 'write', error, record.transactionId);
    }
    await pause(host, attempt);
  }
}

/** The wait before another attempt. */
export function pause({ clock, random }: SiteHost, attempt: number): Promise<void> {
  return new Promise((resolve) => {
    const delayMs = backoffMs(attempt, WRITE_BACKOFF, random);
    clock.schedule(delayMs, resolve, { keepAlive: false });
  });
}
