import { channel, tracingChannel } from 'node:diagnostics_channel';

/** A named stream of facts that anybody in the process may subscribe to with `node:diagnostics_channel`. */
export interface EventChannel<Payload> {
  /** The channel's name in `node:diagnostics_channel`. */
  readonly name: string;
  /** Publishes what `payload` makes; it is not called when nobody listens. Never throws. */
  publish(payload: () => Payload): void;
}

/** A channel for single events, named `tricord:‹domain›.‹event›`. */
export function eventChannel<Payload extends object>(
  name: `tricord:${string}`,
): EventChannel<Payload> {
  const events = channel(name);
  return {
    name,
    publish(payload) {
      // A subscriber that throws is reported by Node as an uncaught exception of its own, not ours.
      if (events.hasSubscribers) events.publish(payload());
    },
  };
}

/** An operation with a start and an end, which tracers turn into a span. */
export interface OperationChannel<Context extends object> {
  /** The name to give to `diagnostics_channel.tracingChannel`. */
  readonly name: string;
  /** Whether anybody listens: if not, `trace` only runs the operation. */
  readonly isListened: boolean;
  /** Runs `operation`, and publishes its start, end and error with the context when somebody listens. */
  trace<T>(context: () => Context, operation: () => Promise<T>): Promise<T>;
}

/** A tracing channel, named `tricord:‹domain›.‹verb›`. */
export function operationChannel<Context extends object>(
  name: `tricord:${string}`,
): OperationChannel<Context> {
  const tracing = tracingChannel<unknown, Context>(name);
  const { start, end, asyncStart, asyncEnd, error } = tracing;
  const isListened = (): boolean =>
    start.hasSubscribers ||
    asyncEnd.hasSubscribers ||
    end.hasSubscribers ||
    asyncStart.hasSubscribers ||
    error.hasSubscribers;
  return {
    name,
    get isListened() {
      return isListened();
    },
    trace(context, operation) {
      return isListened() ? tracing.tracePromise(operation, context()) : operation();
    },
  };
}
