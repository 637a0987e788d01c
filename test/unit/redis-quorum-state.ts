// The state of the quorum lock's model, and how it is written as a text.

const PHASES = ['idle', 'voting', 'writing', 'held', 'renewing', 'over'] as const;
export type Phase = (typeof PHASES)[number];
/** What a client knows of its vote on a node: nothing, a lost reply, or the proposal. */
export type Known = null | 'lost' | number;
/** What it knows of a write-back or renewal there. */
export type Back = null | 'lost' | boolean;

export interface Node {
  owner: number | null;
  ends: number;
  counter: number;
  upAt: number;
  readonly skew: number;
  /** By client. */
  readonly votes: Known[];
  readonly backs: Back[];
}

export interface Client {
  phase: Phase;
  since: number;
  renewedSince: number;
  token: number;
  renewals: number;
}

export interface State {
  now: number;
  restarts: number;
  losses: number;
  lastToken: number;
  fault: string | null;
  readonly nodes: Node[];
  readonly clients: Client[];
}

/**
 * A state as a short text, which is what makes hundreds of thousands of them affordable. Nodes with the
 * same clock are alike: states that differ in their order only are one.
 */
export function written({
  now,
  restarts,
  losses,
  lastToken,
  fault,
  nodes,
  clients,
}: State): string {
  const nodeTexts = nodes.map((node) => {
    const { owner, counter, skew, votes, backs } = node;
    const ends = isLocked(node, now) ? node.ends : 0;
    const upAt = node.upAt <= now ? 0 : node.upAt;
    const known = [...votes, ...backs].map((one) => WORDS.get(one) ?? one);
    return [owner ?? '-', ends, counter, upAt, skew, ...known].join();
  });
  const clientTexts = clients.map(({ phase, since, renewedSince, token, renewals }) =>
    [PHASES.indexOf(phase), since, renewedSince, token, renewals].join(),
  );
  const head = [now, restarts, losses, lastToken].join();
  return [head, ...nodeTexts.sort(), ...clientTexts, fault ?? ''].join(';');
}

const WORDS = new Map<unknown, string>([
  [null, '-'],
  ['lost', 'l'],
  [true, 't'],
  [false, 'f'],
]);
const MEANINGS = new Map<string, null | 'lost' | boolean>([
  ['-', null],
  ['l', 'lost'],
  ['t', true],
  ['f', false],
]);

export function read(count: number, text: string): State {
  const parts = text.split(';');
  const [now = 0, restarts = 0, losses = 0, lastToken = 0] = `${parts[0]}`.split(',').map(Number);
  const nodes = parts.slice(1, 4).map((part) => {
    const [owner, ends, counter, upAt, skew, ...known] = part.split(',');
    const values = known.map((word) => {
      const meaning = MEANINGS.get(word);
      return meaning === undefined ? Number(word) : meaning;
    });
    return {
      owner: owner === '-' ? null : Number(owner),
      ...{ ends: Number(ends), counter: Number(counter), upAt: Number(upAt), skew: Number(skew) },
      votes: values.slice(0, count) as Known[],
      backs: values.slice(count) as Back[],
    };
  });
  const clients = parts.slice(4, 4 + count).map((part) => {
    const [phase = 0, since = 0, renewedSince = 0, token = 0, renewals = 0] = part
      .split(',')
      .map(Number);
    return { phase: PHASES[phase] ?? 'idle', since, renewedSince, token, renewals };
  });
  const fault = parts[4 + count];
  return { now, restarts, losses, lastToken, nodes, clients, fault: fault ? fault : null };
}

export function isLocked(node: Node, now: number): boolean {
  return node.owner !== null && node.ends > now;
}
