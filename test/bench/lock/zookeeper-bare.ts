// The three requests of a lock by the ZooKeeper client alone, without a lock around them: by its own
// methods, as its users call it, or by the binding below them, as tricord does.

import ZooKeeper from 'zookeeper';

export interface BareClient {
  make(directory: string): Promise<void>;
  /** A place in the line; answers its path. */
  stand(directory: string): Promise<string>;
  list(directory: string): Promise<void>;
  leave(place: string): Promise<void>;
}

const EPHEMERAL_SEQUENTIAL = 3;

export async function bareClient(servers: string, isBelow: boolean): Promise<BareClient> {
  const whole = new ZooKeeper({ connect: servers, timeout: 10_000, debug_level: 0 } as never);
  await new Promise<void>((resolve) => {
    whole.once('connect', () => resolve());
    whole.init({} as never);
  });
  const client: typeof whole = isBelow ? whole.native : whole;
  return {
    make: (directory) =>
      new Promise((resolve) => client.a_create(directory, '', 0, () => resolve())),
    stand: (directory) =>
      answered((done) =>
        client.a_create(`${directory}/place-`, 'of somebody', EPHEMERAL_SEQUENTIAL, (rc, _, path) =>
          done(rc, path),
        ),
      ),
    list: (directory) =>
      answered((done) => client.a_get_children2(directory, false, (rc) => done(rc, undefined))),
    leave: (place) => answered((done) => client.a_delete_(place, -1, (rc) => done(rc, undefined))),
  };
}

function answered<T>(send: (done: (rc: number, value: T) => void) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    send((rc, value) => (rc === 0 ? resolve(value) : reject(new Error(`ZooKeeper says ${rc}`))));
  });
}
