import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';
import pg from 'pg';
import {
  ACCOUNTS,
  type BankUrls,
  bankNode,
  OPENING_BALANCE,
  type Transfer,
} from './bank-branches.js';

export interface BankBooks {
  /** Transfers that are in any ledger. */
  readonly transferCount: number;
  /** What does not agree, a sentence each. */
  readonly errors: readonly string[];
}

interface Books {
  readonly balances: ReadonlyMap<number, number>;
  readonly entries: ReadonlyMap<string, Transfer['legs']>;
}

const QUIET_MS_MAX = 60_000;
/** A branch that was prepared behind a look of recovery is found by the next one. */
const QUIET_ROUNDS = 3;

/** Recovers until nothing is left; what could not be finished in a minute is an error. */
export async function quiesce(urls: BankUrls): Promise<readonly string[]> {
  await using node = bankNode(urls, { sweepMs: Number.POSITIVE_INFINITY });
  const startedAt = performance.now();
  for (let quietRounds = 0; ; ) {
    const report = await node.coordinator.recover().catch((error: unknown) => String(error));
    const isQuiet =
      typeof report === 'object' &&
      report.inDoubt + report.failed.length + report.recommitted === 0 &&
      !(await hasAny(node.coordinator.inDoubt()));
    quietRounds = isQuiet ? quietRounds + 1 : 0;
    if (quietRounds === QUIET_ROUNDS) return [];
    if (performance.now() - startedAt > QUIET_MS_MAX) {
      return [`not quiet after ${QUIET_MS_MAX} ms: ${JSON.stringify(report)}`];
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function hasAny(items: AsyncIterable<unknown>): Promise<boolean> {
  for await (const _ of items) return true;
  return false;
}

/** Compares balances with ledgers, ledgers with each other, and both with what callers were told. */
export async function audit(urls: BankUrls, told: ReadonlyMap<string, string>): Promise<BankBooks> {
  const books = await readBooks(urls);
  const errors: string[] = [];
  const found = new Map<string, { legs: Transfer['legs']; banks: string[] }>();
  let sum = 0;
  for (const [bank, { balances, entries }] of Object.entries(books)) {
    const expected = new Map(Array.from({ length: ACCOUNTS }, (_, id) => [id, OPENING_BALANCE]));
    for (const [id, legs] of entries) {
      const entry = found.get(id) ?? { legs, banks: [] };
      found.set(id, { legs, banks: [...entry.banks, bank] });
      for (const leg of legs.filter((each) => each.bank === bank)) {
        expected.set(leg.account, (expected.get(leg.account) ?? 0) + leg.by);
      }
    }
    for (const [id, balance] of balances) {
      sum += balance;
      if (balance === expected.get(id)) continue;
      errors.push(`${bank}: account ${id} has ${balance}, its ledger says ${expected.get(id)}`);
    }
  }
  const opening = Object.keys(books).length * ACCOUNTS * OPENING_BALANCE;
  if (sum !== opening) errors.push(`there are ${sum} in all banks, and there were ${opening}`);
  for (const [id, { legs, banks }] of found) {
    const missing = legs.map(({ bank }) => bank).filter((bank) => !banks.includes(bank));
    if (missing.length > 0) errors.push(`transfer ${id} is in ${banks}, not in ${missing}`);
  }
  for (const [id, state] of told) {
    if (state === 'committed' && !found.has(id))
      errors.push(`${id} was told committed, and is not`);
    if ((state === 'aborted' || state === 'refused') && found.has(id)) {
      errors.push(`${id} was told ${state}, and was committed`);
    }
  }
  return { transferCount: found.size, errors };
}

async function readBooks(urls: BankUrls): Promise<Readonly<Record<string, Books>>> {
  const [north, south] = await Promise.all([postgresBooks(urls.north), postgresBooks(urls.south)]);
  return { north, south, maria: await mariaBooks(urls.maria), redis: await redisBooks(urls.redis) };
}

const ALL_ACCOUNTS = 'select id, balance from account';
const ALL_ENTRIES = 'select transfer, legs from ledger';

async function postgresBooks(connectionString: string): Promise<Books> {
  const pool = new pg.Pool({ connectionString, max: 1 });
  try {
    return booksOf((await pool.query(ALL_ACCOUNTS)).rows, (await pool.query(ALL_ENTRIES)).rows);
  } finally {
    await pool.end();
  }
}

async function mariaBooks(uri: string): Promise<Books> {
  const pool = mysql.createPool({ uri, connectionLimit: 1 });
  try {
    const [accounts] = await pool.query<mysql.RowDataPacket[]>(ALL_ACCOUNTS);
    const [entries] = await pool.query<mysql.RowDataPacket[]>(ALL_ENTRIES);
    return booksOf(accounts, entries);
  } finally {
    await pool.end();
  }
}

async function redisBooks(url: string): Promise<Books> {
  const client = new Redis(url);
  try {
    const accounts = Array.from({ length: ACCOUNTS }, async (_, id) => ({
      id,
      balance: Number(await client.get(`account:${id}`)),
    }));
    const keys = await client.keys('ledger:*');
    const entries = keys.map(async (key) => ({
      transfer: key.slice('ledger:'.length),
      legs: (await client.get(key)) ?? '[]',
    }));
    return booksOf(await Promise.all(accounts), await Promise.all(entries));
  } finally {
    client.disconnect();
  }
}

function booksOf(
  accounts: readonly Readonly<Record<string, unknown>>[],
  entries: readonly Readonly<Record<string, unknown>>[],
): Books {
  return {
    balances: new Map(accounts.map(({ id, balance }) => [Number(id), Number(balance)])),
    entries: new Map(
      entries.map(({ transfer, legs }) => [String(transfer), JSON.parse(String(legs))]),
    ),
  };
}
