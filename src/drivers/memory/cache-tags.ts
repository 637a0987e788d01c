import type { LocalTags, TagStamp } from '../../cache/driver.js';

/** Versions of tags in a memory store. */
export interface KnownTags extends LocalTags {
  /** Whether all of an entry's tags have the versions that it carries. */
  areCurrent(stamps: readonly TagStamp[]): boolean;
  /** Forgets all of them, also in answers that are under way. */
  clear(): void;
}

/** So many tags are known; the one that was noted first is forgotten, and its entries are outdated. */
const TAGS_MAX = 100_000;
/** So many renewals are told apart; an older one counts for every tag. */
const RENEWALS_MAX = 10_000;

/** No tags yet. */
export function knownTags(): KnownTags {
  const versions = new Map<string, string>();
  const renewals = new Map<string, number>();
  let moment = 0;
  /** Of the newest renewal of a tag that is not told apart any more. */
  let otherMoment = 0;

  return {
    get moment() {
      return moment;
    },
    get: (tag) => versions.get(tag),
    note(tag, version, since) {
      if ((renewals.get(tag) ?? otherMoment) > since || versions.get(tag) === version) return;
      versions.delete(tag);
      versions.set(tag, version);
      const [oldest] = versions.size > TAGS_MAX ? versions.keys() : [];
      if (oldest !== undefined) versions.delete(oldest);
    },
    renewed(tag) {
      moment += 1;
      versions.delete(tag);
      renewals.delete(tag);
      renewals.set(tag, moment);
      const [oldest] = renewals.size > RENEWALS_MAX ? renewals : [];
      if (oldest === undefined) return;
      renewals.delete(oldest[0]);
      otherMoment = oldest[1];
    },
    areCurrent(stamps) {
      for (const { tag, version } of stamps) if (versions.get(tag) !== version) return false;
      return true;
    },
    clear() {
      moment += 1;
      otherMoment = moment;
      versions.clear();
      renewals.clear();
    },
  };
}
