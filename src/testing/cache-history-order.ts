import type { CacheAnswerEvent, CacheHistoryViolation, CacheReadEvent } from './cache-history.js';

interface Answered {
  readonly read: CacheReadEvent;
  readonly answer: CacheAnswerEvent;
}

/**
 * What a linearizable cache never does: answer an older version to a read that begins after another
 * one, of whatever process, was answered a newer one.
 */
export function orderViolations(
  answers: readonly Answered[],
  skewMs: number,
): CacheHistoryViolation[] {
  const byKey = new Map<string, Answered[]>();
  for (const one of answers) {
    if (one.answer.outcome !== 'value' || one.answer.version === undefined) continue;
    const ofKey = byKey.get(one.read.key) ?? [];
    byKey.set(one.read.key, ofKey);
    ofKey.push(one);
  }
  return Array.from(byKey.values()).flatMap((ofKey) => ofOneKey(ofKey, skewMs));
}

function ofOneKey(answers: readonly Answered[], skewMs: number): CacheHistoryViolation[] {
  const ended = answers.toSorted((one, other) => one.answer.at - other.answer.at);
  const begun = answers.toSorted((one, other) => one.read.at - other.read.at);
  const violations: CacheHistoryViolation[] = [];
  let next = 0;
  let newest: Answered | undefined;
  for (const one of begun) {
    for (let end = ended[next]; end && end.answer.at < one.read.at - skewMs; end = ended[next]) {
      if (versionOf(end) > versionOf(newest)) newest = end;
      next += 1;
    }
    if (newest === undefined || versionOf(one) >= versionOf(newest)) continue;
    const { read, answer } = one;
    const key = JSON.stringify(read.key);
    const message =
      `${read.process}/${read.operation} was answered version ${versionOf(one)} of ${key} after ` +
      `${newest.read.process}/${newest.read.operation} had been answered ${versionOf(newest)}`;
    violations.push({ rule: 'order', message, events: [newest.answer, read, answer] });
  }
  return violations;
}

function versionOf(one: Answered | undefined): number {
  return one?.answer.version ?? -1;
}
