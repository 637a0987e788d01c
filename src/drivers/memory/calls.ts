import { throwIfAborted } from '../../core/abort.js';
import { closedError } from '../../core/errors.js';
import type { LogCallOptions } from '../../transaction/decision-log.js';
import { CALL_BYTES_MAX } from '../../transaction/remote/call-keys.js';
import type { CallNode, CallSession } from '../../transaction/remote/call-session.js';
import type { CallSpace } from './calls-store.js';

/** A session on the calls of this process. */
export function memoryCalls(space: CallSpace, { random }: CallNode): CallSession {
  const address = random.token(11);
  let isClosed = false;
  /** Every operation answers later and honours its signal, as one over a network does. */
  const step = async <T>(
    options: LogCallOptions | undefined,
    operation: (writeId: string) => T,
  ): Promise<T> => {
    throwIfAborted(options?.signal);
    if (isClosed) throw closedError('the session of calls');
    await Promise.resolve();
    return operation(random.token(11));
  };
  const presentAt = (service: string): Set<string> => {
    const present = space.present.get(service) ?? new Set();
    space.present.set(service, present);
    return present;
  };
  return {
    address,
    bytesMax: CALL_BYTES_MAX,
    create: (call, options) => step(options, (writeId) => space.create(call, address, writeId)),
    bury: (key, options) => step(options, (writeId) => space.bury(key, address, writeId)),
    read: (key, options) => step(options, () => space.read(key)),
    replace: (record, replaces, options) => step(options, () => space.replace(record, replaces)),
    remove: (record, options) => step(options, () => space.remove(record)),
    take: (service, options) => step(options, (writeId) => space.take(service, address, writeId)),
    list: (service, limit, options) => step(options, () => space.list(service, limit)),
    nowMs: (options) => step(options, () => space.nowMs()),
    announce: (service, options) => step(options, () => void presentAt(service).add(address)),
    withdraw: (service, options) => step(options, () => void presentAt(service).delete(address)),
    servers: (service, options) => step(options, () => Array.from(presentAt(service))),
    listen(services, heard) {
      space.audience.set(address, { services: new Set(services), heard });
      return () => space.audience.delete(address);
    },
    async close() {
      isClosed = true;
      space.audience.delete(address);
      for (const present of space.present.values()) present.delete(address);
    },
  };
}
