import type { Clock } from '../../core/clock.js';
import { callQueueFullError } from '../../transaction/remote/call-errors.js';
import { QUEUED_MAX } from '../../transaction/remote/call-keys.js';
import { type CallKey, type CallRecord, callAfter } from '../../transaction/remote/call-record.js';
import type { CallHint, NewCall, TakenCall } from '../../transaction/remote/call-session.js';

/** What the call sessions of one process share. Each method is one atomic step. */
export interface CallSpace {
  create(call: NewCall, caller: string, writeId: string): CallRecord;
  bury(key: CallKey, caller: string, writeId: string): CallRecord;
  read(key: CallKey): CallRecord | undefined;
  replace(record: CallRecord, replaces: string): CallRecord | undefined;
  remove(record: CallRecord): void;
  take(service: string, server: string, writeId: string): TakenCall | undefined;
  list(service: string, limit: number): readonly CallRecord[];
  nowMs(): number;
  readonly present: Map<string, Set<string>>;
  /** Who hears hints, by address. */
  readonly audience: Map<string, Listener>;
}

/** A session that hears hints. */
export interface Listener {
  readonly services: ReadonlySet<string>;
  readonly heard: (hint: CallHint) => void;
}

interface Service {
  readonly records: Map<string, CallRecord>;
  /** Ids of open calls, in the order of their coming. */
  readonly queue: Set<string>;
}

/** The calls of one namespace in this process. */
export function callSpace(clock: Clock): CallSpace {
  const services = new Map<string, Service>();
  const audience = new Map<string, Listener>();
  const serviceOf = (name: string): Service => {
    const known = services.get(name) ?? { records: new Map(), queue: new Set() };
    services.set(name, known);
    return known;
  };
  /** Later, as over a network: never inside the call that caused it. */
  const hint = (listener: Listener | undefined, news: CallHint): void => {
    if (listener !== undefined) queueMicrotask(() => listener.heard(news));
  };
  const changed = (address: string, callId: string, record: CallRecord | undefined): void =>
    hint(audience.get(address), { type: 'changed', callId, now: { record } });
  const queued = (service: string): void => {
    for (const listener of audience.values()) {
      if (listener.services.has(service)) hint(listener, { type: 'queued', service });
    }
  };
  const told = (record: CallRecord): void => {
    const { callId } = record;
    if (record.state === 'voted') changed(record.caller, callId, record);
    if (record.state === 'ended') changed(record.server, callId, record);
    if (record.state === 'open') queued(record.service);
  };

  return {
    present: new Map(),
    audience,
    nowMs: () => clock.monotonicMs(),
    create({ timeoutMs, ...call }, caller, writeId) {
      const { records, queue } = serviceOf(call.service);
      const known = records.get(call.callId);
      if (known !== undefined) return known;
      if (queue.size >= QUEUED_MAX) throw callQueueFullError(call.service, QUEUED_MAX);
      const deadlineMs = clock.monotonicMs() + timeoutMs;
      const facts = { ...call, deadlineMs, caller, writeId };
      const record: CallRecord = { ...facts, state: 'open', attempt: 0, server: '' };
      records.set(call.callId, record);
      queue.add(call.callId);
      queued(call.service);
      return record;
    },
    bury({ callId, service }, caller, writeId) {
      const { records } = serviceOf(service);
      const known = records.get(callId);
      if (known !== undefined) return known;
      const facts = { callId, service, caller, writeId, deadlineMs: clock.monotonicMs() };
      const buried = { attempt: 0, server: '', payload: '', outcome: 'aborted' } as const;
      const record: CallRecord = { ...facts, ...buried, state: 'ended' };
      records.set(callId, record);
      return record;
    },
    read: ({ service, callId }) => services.get(service)?.records.get(callId),
    replace(record, replaces) {
      const { records, queue } = serviceOf(record.service);
      const known = records.get(record.callId);
      if (known?.writeId !== replaces) return known;
      records.set(record.callId, record);
      if (record.state === 'open') queue.add(record.callId);
      else queue.delete(record.callId);
      told(record);
      return record;
    },
    remove(record) {
      const { records, queue } = serviceOf(record.service);
      if (records.get(record.callId)?.writeId !== record.writeId) return;
      records.delete(record.callId);
      queue.delete(record.callId);
      changed(record.caller, record.callId, undefined);
      changed(record.server, record.callId, undefined);
    },
    take(service, server, writeId) {
      const { records, queue } = serviceOf(service);
      for (const callId of queue) {
        queue.delete(callId);
        const record = records.get(callId);
        if (record === undefined) continue;
        const remainingMs = record.deadlineMs - clock.monotonicMs();
        if (remainingMs <= 0) continue;
        const claimed = callAfter(record, { type: 'claim', server }, writeId);
        if (claimed === undefined) continue;
        records.set(callId, claimed);
        return { record: claimed, remainingMs, isLast: queue.size === 0 };
      }
      return undefined;
    },
    list: (service, limit) =>
      Array.from(services.get(service)?.records.values() ?? []).slice(0, limit),
  };
}
