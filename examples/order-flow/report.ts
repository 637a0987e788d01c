import Table from 'cli-table3';
import type { CoordinatorGuarantees, Guarantees } from 'tricord';
import type { AuditReport } from './audit.js';
import type { OrderRow } from './books.js';
import { groupBy } from './group-by.js';
import type { Killing } from './kill.js';
import type { Offer } from './offer.js';
import type { HitRates, Tally } from './tally.js';

/** All that the table tells of a sale. */
export interface SaleReport {
  readonly offer: Offer;
  readonly tally: Tally;
  readonly audit: AuditReport;
  readonly tookMs: number;
  readonly killing: Killing | undefined;
  /** To tell which transactions of a killed node were finished, and which undone. */
  readonly orders: readonly OrderRow[];
}

type Row = readonly [name: string, value: string];

/** The one table at the end. */
export function table(report: SaleReport): string {
  const rows = [
    ...saleRows(report),
    ...cordRows(report),
    ...killRows(report),
    ...auditRows(report),
  ];
  const shown = new Table({ style: { head: [], border: [], compact: true } });
  shown.push(...rows.map((row) => [...row]));
  return shown.toString();
}

function saleRows({ offer, tally, audit, tookMs }: SaleReport): Row[] {
  const offered = offer.products.reduce((units, product) => units + product.units, 0);
  const seconds = tookMs / 1_000;
  const perSecond = Math.round(offer.buyers.length / seconds);
  const [soldOut, declined] = [
    tally.answerCount('sold out'),
    tally.answerCount('payment declined'),
  ];
  return [
    ['sold', `${count(audit.soldUnits)} of ${count(offered)} units for ${money(audit.takenCents)}`],
    [
      'refused',
      `${count(soldOut + declined)}: ${count(soldOut)} sold out, ${count(declined)} payment declined`,
    ],
    ['oversold', count(audit.oversoldUnits)],
    [
      'time',
      `${seconds.toFixed(1)} s for ${count(offer.buyers.length)} buyers (${count(perSecond)}/s)`,
    ],
  ];
}

function cordRows({ tally }: SaleReport): Row[] {
  const { committed, aborted, inDoubt } = tally.transactions;
  const reasons = tally.reasons.map(([reason, times]) => `${count(times)} ${reason}`).join('\n');
  return [
    [
      'transactions',
      `${count(committed)} committed, ${count(aborted)} aborted, ${inDoubt} in doubt`,
    ],
    ...(reasons === '' ? [] : [['not ordered because', reasons] as const]),
    ['lock wait', `p50 ${ms(tally.lockWaitMs(0.5))}, p99 ${ms(tally.lockWaitMs(0.99))}`],
    ...tally.hitRates.map(
      (rates) => [rates.what, `hit rate ${percent(rates.hitRate)}${byTier(rates)}`] as const,
    ),
  ];
}

/** What each tier had of what it was asked, where there are several. */
function byTier({ tiers }: HitRates): string {
  if (tiers.length < 2) return '';
  const each = tiers.map(([backend, hitRate]) => `${backend} ${percent(hitRate)}`);
  return ` (${each.join(', ')})`;
}

function killRows({ killing, orders }: SaleReport): Row[] {
  if (killing === undefined) return [];
  const { node, pid, attempts, branches } = killing;
  const committed = new Set(orders.map(({ transactionId }) => transactionId));
  const left = [...new Set(branches.map(({ transactionId }) => transactionId))];
  const finished = left.filter((id) => committed.has(id)).length;
  const lastMs = Math.max(...branches.map(({ inDoubtMs = Number.POSITIVE_INFINITY }) => inDoubtMs));
  const again = attempts === 1 ? '' : `, at attempt ${attempts}`;
  return [
    ['killed', `${node} (process ${pid}) with SIGKILL${again}`],
    [
      'left in doubt',
      `${plural(branches.length, 'branch', 'branches')} of ${plural(left.length, 'transaction')}`,
    ],
    [
      'other nodes',
      `finished ${finished} and undid ${left.length - finished}, the last after ${ms(lastMs)}`,
    ],
  ];
}

function auditRows({ audit }: SaleReport): Row[] {
  const broken = [...new Set(audit.violations.map(({ rule }) => rule))];
  const found = `${plural(audit.violations.length, 'violation')} of: ${broken.join('; ')}`;
  return [['audit', broken.length === 0 ? 'clean' : found]];
}

/** What the drivers promise, as they read it from their servers. */
export function guaranteeLines(guarantees: readonly Guarantees[]): string[] {
  return guarantees.flatMap((given) => [
    `${given.subject}: what was acknowledged survives ${SURVIVES[given.survives]}`,
    ...sentences(given, 'promises').map((sentence) => `  + ${sentence}`),
    ...sentences(given, 'warnings').map((sentence) => `  ! ${sentence}`),
  ]);
}

/** A coordinator repeats what its parts say; what several parts say alike is told once, of all of them. */
function sentences(given: Guarantees, kind: 'promises' | 'warnings'): string[] {
  const parts = 'parts' in given ? (given as CoordinatorGuarantees).parts : [];
  const said = parts.flatMap((part) => part[kind].map((sentence) => [sentence, part.subject]));
  const subjectsOf = groupBy(said, ([sentence = '']) => sentence);
  const own = given[kind].filter((text) => {
    return !parts.some(({ subject }) => text.startsWith(`${subject}: `));
  });
  const merged = [...subjectsOf].map(([sentence, rows]) => {
    return `${rows.map(([, subject]) => subject).join(', ')}: ${sentence}`;
  });
  return [...own, ...merged];
}

const SURVIVES = {
  none: 'no crash',
  process: "a crash of the server's process",
  'power-loss': 'a loss of power',
  failover: 'the loss of a machine',
} as const;

/** The verdict, in a sentence that a script can look for. */
export function verdict({ audit, tally, offer }: SaleReport): string {
  const refused = offer.buyers.length - tally.answerCount('sold') - tally.answerCount('unknown');
  const facts = `sold ${audit.soldUnits}, refused ${refused}, oversold ${audit.oversoldUnits}`;
  return audit.violations.length === 0
    ? `The audit is clean: ${facts}; stock, payments and orders agree, and nothing is left over.`
    : `The audit found ${plural(audit.violations.length, 'violation')}: ${facts}.`;
}

const count = (value: number): string => value.toLocaleString('en-US');

const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`;

const money = (cents: number): string =>
  (cents / 100).toLocaleString('en-US', { style: 'currency', currency: 'EUR' });

const percent = (fraction: number | undefined): string =>
  fraction === undefined ? 'unknown' : `${(fraction * 100).toFixed(1)} %`;

function ms(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return 'unknown';
  return value < 10 ? `${value.toFixed(2)} ms` : `${count(Math.round(value))} ms`;
}

const VIOLATIONS_SHOWN_MAX = 20;

/** The first violations, a line each. */
export function violationLines(violations: AuditReport['violations']): string[] {
  const shown = violations.slice(0, VIOLATIONS_SHOWN_MAX);
  const rest = violations.length - shown.length;
  return [
    ...shown.map(({ rule, found }) => `violated: ${rule}: ${found}`),
    ...(rest > 0 ? [`… and ${count(rest)} more`] : []),
  ];
}
