// How the nodes of a new deployment begin, as a system with a finite number of states. When they may is
// production code (rules.ts).

import { mayMakeReady, mayStart } from '../../src/drivers/redis/quorum/rules.js';
import type { Model } from './redis/explore.js';

/** A new deployment: nodes that clients make ready and begin, of which one loses its state again. */
interface NewNode {
  /** Which life of its state it is in. */
  life: number;
  stage: 'blank' | 'ready' | 'in service';
  owner: number | null;
}

interface Starter {
  /** The lives that were read, in the first, second and third reading of all nodes. */
  readonly readings: [number[], number[], number[]];
  votes: number;
  isRelying: boolean;
}

interface NewDeployment {
  losses: number;
  readonly nodes: NewNode[];
  readonly clients: Starter[];
}

/** Which of its steps the beginning of a new deployment has. */
export interface Admission {
  readonly readsTwice: boolean;
  readonly hasReadyStep: boolean;
}

/** Two clients that begin three blank nodes, and lock. */
export function admissionModel(rules: Admission): Model<NewDeployment> {
  return {
    initial: {
      losses: 1,
      nodes: [0, 1, 2].map(() => ({ life: 1, stage: 'blank', owner: null })),
      clients: [0, 1].map(() => ({ readings: [[], [], []], votes: 0, isRelying: false })),
    },
    next: (state) => admissionSteps(rules, state),
    faultOf: ({ clients }) =>
      clients.every(({ isRelying }) => isRelying) ? 'two clients rely on the lock' : undefined,
  };
}

function admissionSteps(rules: Admission, state: NewDeployment): [string, NewDeployment][] {
  const steps: [string, NewDeployment][] = [];
  for (const [n, node] of state.nodes.entries()) {
    const add = (label: string, change: (node: NewNode, next: NewDeployment) => void): void => {
      const next = structuredClone(state);
      change(next.nodes[n] as NewNode, next);
      steps.push([label, next]);
    };
    if (state.losses > 0) {
      add(`node ${n} restarts empty`, (one, next) => {
        next.losses -= 1;
        Object.assign(one, { life: one.life + 1, stage: 'blank', owner: null });
      });
    }
    for (const [c, client] of state.clients.entries()) {
      const place = placeOf(rules, client);
      const wanted = place === 2 ? node.stage !== 'blank' : node.stage === 'blank';
      if (client.readings[place]?.length === n && wanted) {
        add(`c${c} reads ${n}`, (one, next) => next.clients[c]?.readings[place]?.push(one.life));
      }
      const following = followingStage(rules, client, node, n);
      if (following !== undefined) {
        add(`c${c} makes ${n} ${following}`, (one) => {
          one.stage = following;
        });
      }
      if (node.stage !== 'in service' || node.owner !== null || client.isRelying) continue;
      add(`c${c} gets the vote of ${n}`, (one, next) => {
        const voter = next.clients[c] as Starter;
        one.owner = c;
        voter.votes += 1;
        voter.isRelying = voter.votes >= 2;
      });
    }
  }
  return steps;
}

/** Which reading a client is at. */
function placeOf({ readsTwice }: Admission, { readings: [first, second] }: Starter): 0 | 1 | 2 {
  if (first.length < 3) return 0;
  return readsTwice && second.length < 3 ? 1 : 2;
}

function followingStage(
  rules: Admission,
  { readings: [first, second, third] }: Starter,
  node: NewNode,
  n: number,
): NewNode['stage'] | undefined {
  const latest = rules.readsTwice ? second : first;
  const absences = (lives: readonly number[], kind: 'blank' | 'ready') =>
    lives.map((life) => ({ kind, nonce: String(life) }));
  const isBlank = mayMakeReady(absences(first, 'blank'), absences(latest, 'blank'));
  if (node.stage === 'blank' && latest.length === 3 && isBlank && latest[n] === node.life) {
    return rules.hasReadyStep ? 'ready' : 'in service';
  }
  const isReady = third.length === 3 && mayStart(absences(third, 'ready'));
  return node.stage === 'ready' && isReady && third[n] === node.life ? 'in service' : undefined;
}
