import { type Deferred, deferred } from '../core/deferred.js';

/** Counts work that nobody awaits, so that `close` can. */
export interface WorkCount {
  begin(): void;
  end(): void;
  /** Counts a promise until it settles; its rejection is nobody's. */
  follow(work: Promise<unknown>): void;
  /** Resolves when nothing is left. */
  done(): Promise<void>;
}

/** Nothing is under way yet. */
export function workCount(): WorkCount {
  let count = 0;
  let idle: Deferred<void> | undefined;
  const end = (): void => {
    count -= 1;
    if (count > 0) return;
    idle?.resolve();
    idle = undefined;
  };
  return {
    begin() {
      count += 1;
    },
    end,
    follow(work) {
      count += 1;
      work.then(end, end);
    },
    async done() {
      // What ends may begin something else: a request that ends may bring a grant to give back.
      while (count > 0) {
        idle ??= deferred();
        await idle.promise;
      }
    },
  };
}
