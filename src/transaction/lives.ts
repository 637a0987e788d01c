import { setMaxListeners } from 'node:events';
import { abortable, onAbort } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isCoordinationError } from '../core/errors.js';
import { newIncarnation, newTransactionIds, type TransactionIdSource } from '../core/ids.js';
import type { Random } from '../core/random.js';
import type { DecisionLogSession } from './decision-log.js';
import { boundedCall } from './host.js';
import { SITES_AUTHORITY } from './three-phase/sites-authority.js';

/** One registered incarnation of a coordinator: it can decide until it is fenced. */
export interface Life {
  readonly incarnation: string;
  readonly newId: TransactionIdSource;
  /** Ids of transactions whose decision lives with the sites. */
  readonly newSitesId: TransactionIdSource;
  /** Aborted when it was fenced. */
  readonly fenced: AbortSignal;
}

/** The lives of one coordinator, one at a time. A fenced one is never taken again. */
export interface Lives {
  /** The incarnation that decides now, if one was registered. */
  readonly incarnation: string | undefined;
  /** The life that decides now, if there is one. */
  readonly ready: Life | undefined;
  /** The life that decides now, registered first where there is none. */
  current(signal: AbortSignal): Promise<Life>;
  /** Ends a life that the log no longer lets decide. */
  end(incarnation: string): void;
}

/** No life yet. `onFenced` is told when the log ends one. */
export function lives(options: {
  readonly session: DecisionLogSession;
  readonly namespace: string;
  readonly authority: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly stopped: AbortSignal;
  readonly onFenced: (incarnation: string, reason: unknown) => void;
}): Lives {
  const { session, namespace, authority, clock, random, stopped, onFenced } = options;
  let life: Life | undefined;
  let registration: Promise<Life> | undefined;
  let name = newIncarnation(random);

  const register = async (): Promise<Life> => {
    const incarnation = name;
    try {
      await boundedCall(clock, { signals: [stopped] }, (signal) =>
        session.register(incarnation, { signal }),
      );
    } catch (error) {
      // Registering the same name again is safe, unless somebody fenced it meanwhile.
      if (isCoordinationError(error, 'INCARNATION_FENCED')) name = newIncarnation(random);
      throw error;
    }
    const fenced = session.fencedSignal(incarnation);
    setMaxListeners(0, fenced);
    const newId = newTransactionIds({ namespace, authority, incarnation }, clock);
    const sites = { namespace, authority: SITES_AUTHORITY, incarnation };
    const registered = { incarnation, newId, newSitesId: newTransactionIds(sites, clock), fenced };
    life = registered;
    onAbort(fenced, () => {
      end(incarnation);
      onFenced(incarnation, fenced.reason);
    });
    return registered;
  };
  const end = (incarnation: string): void => {
    if (life?.incarnation !== incarnation) return;
    life = undefined;
    name = newIncarnation(random);
  };
  const ready = (): Life | undefined => (life?.fenced.aborted === false ? life : undefined);
  return {
    get ready() {
      return ready();
    },
    get incarnation() {
      return life?.incarnation;
    },
    async current(signal) {
      const present = ready();
      if (present !== undefined) return present;
      registration ??= register().finally(() => {
        registration = undefined;
      });
      return abortable(registration, signal);
    },
    end,
  };
}
