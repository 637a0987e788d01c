import type { DecidedBranch } from '../decision-log.js';
import type { SiteVote, SiteWork } from './site-work.js';

/** Everybody who did work here has a vote; one no is a no. */
export async function voteOf(works: readonly SiteWork[]): Promise<SiteVote> {
  if (works.length === 0) return { vote: 'no', reason: 'its work was lost in a restart' };
  const branches: DecidedBranch[] = [];
  const votes = await Promise.all(works.map(oneVote));
  for (const answer of votes) {
    if (answer.vote === 'no') return answer;
    branches.push(...answer.branches);
  }
  return { vote: 'yes', branches };
}

async function oneVote(work: SiteWork): Promise<SiteVote> {
  try {
    return await work.vote();
  } catch (cause) {
    return { vote: 'no', reason: cause instanceof Error ? cause.message : String(cause), cause };
  }
}
