import { setTimeout as sleep } from 'node:timers/promises';
import type { Endpoint } from './handle.js';
import { ask, eventually } from './wire.js';

const EXPIRE_TIMEOUT_MS = 10_000;
const CLOSE_SESSION = -11;

/** The ids of the sessions that a server knows, as the four-letter word `dump` lists them. */
export async function sessionsOf(server: Endpoint): Promise<bigint[]> {
  const sessions = await eventually(() => sessionLines(server), { timeoutMs: EXPIRE_TIMEOUT_MS });
  return [...new Set([...sessions.matchAll(/0x([0-9a-f]+)/g)].map(([, id]) => BigInt(`0x${id}`)))];
}

/** A server that does not serve at the moment answers something else: it is not one without sessions. */
async function sessionLines(server: Endpoint): Promise<string> {
  const dump = await ask(server, 'dump');
  const end = dump.indexOf('ephemeral nodes dump');
  if (end < 0) throw new Error(`no list of sessions, but ${JSON.stringify(dump.slice(0, 100))}`);
  return dump.slice(0, end);
}

/**
 * Ends a session by its id, whoever owns it: its ephemeral nodes go, and its client learns of the
 * expiry when it connects again. The client may take the session back between the two messages,
 * which closes this connection; so it is repeated until the server no longer knows the session.
 */
export async function expireSession(server: Endpoint, sessionId: bigint): Promise<void> {
  const startedAt = performance.now();
  while ((await sessionsOf(server)).includes(BigInt.asUintN(64, sessionId))) {
    if (performance.now() - startedAt > EXPIRE_TIMEOUT_MS) {
      throw new Error(`session 0x${sessionId.toString(16)} did not end`);
    }
    const request = Buffer.concat([connectRequest(sessionId), closeRequest()]);
    await ask(server, request).catch(() => undefined);
    await sleep(10);
  }
}

/** ConnectRequest of zookeeper.jute: version, last zxid seen, time-out, session, password. */
function connectRequest(sessionId: bigint): Buffer {
  const body = Buffer.alloc(44);
  body.writeInt32BE(10_000, 12);
  body.writeBigInt64BE(BigInt.asIntN(64, sessionId), 16);
  body.writeInt32BE(16, 24);
  passwordOf(sessionId).copy(body, 28);
  return framed(body);
}

function closeRequest(): Buffer {
  const body = Buffer.alloc(8);
  body.writeInt32BE(1, 0);
  body.writeInt32BE(CLOSE_SESSION, 4);
  return framed(body);
}

function framed(body: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length);
  return Buffer.concat([length, body]);
}

/**
 * A server makes a session's password from its id: 16 bytes of `java.util.Random` seeded with the
 * id and a constant (`ZooKeeperServer.generatePasswd`).
 */
function passwordOf(sessionId: bigint): Buffer {
  const mask = (1n << 48n) - 1n;
  const multiplier = 0x5deece66dn;
  let seed = (sessionId ^ 0xb3415c00n ^ multiplier) & mask;
  const password = Buffer.alloc(16);
  for (let offset = 0; offset < password.length; offset += 4) {
    seed = (seed * multiplier + 0xbn) & mask;
    password.writeUInt32LE(Number(seed >> 16n), offset);
  }
  return password;
}
