/** What this driver calls of the npm package `zookeeper`, and nothing else. */

/** A znode's Stat as the client hands it over; the numbers are doubles, exact below 2^53. */
export interface ZookeeperStat {
  readonly czxid: number;
  readonly mzxid: number;
  readonly pzxid: number;
  readonly version: number;
  /** How many bytes of data the node has. */
  readonly dataLength: number;
  readonly numChildren: number;
  readonly ctime: Date;
  readonly mtime: Date;
  /** The owning session in hexadecimal without leading zeros, `0` for a persistent node. */
  readonly ephemeralOwner: string;
}

/** What `init` is told. */
export interface ClientConfig {
  readonly connect: string;
  readonly timeout: number;
  /** 0 silences the C library; any other level writes to the process's output. */
  readonly debug_level: 0;
  readonly host_order_deterministic: boolean;
  /** After how many empty reads in a row the binding gives a healthy session up for expired. */
  readonly response_counter_limit: number;
  /** Resumes a session; both or neither. */
  readonly client_id?: string;
  readonly client_password?: string;
}

/** Names an access right: `perms` is a bit set, `auth` the identity within `scheme`. */
export interface ClientAcl {
  readonly perms: number;
  readonly scheme: string;
  readonly auth: string;
}

type Completion<Results extends unknown[]> = (
  rc: number,
  text: string,
  ...results: Results
) => void;

/**
 * The requests that go over the wire. Every `a_…` answers a code at once: anything but 0 means that
 * nothing was sent and that the completion never runs.
 */
export interface Wire {
  readonly state: number;
  a_create(path: string, data: Buffer, flags: number, done: Completion<[path: string]>): number;
  a_exists(path: string, watch: boolean, done: Completion<[stat: ZookeeperStat | null]>): number;
  a_get(
    path: string,
    watch: boolean,
    done: Completion<[stat: ZookeeperStat | null, data: Buffer | null]>,
  ): number;
  a_get_children2(
    path: string,
    watch: boolean,
    done: Completion<[names: string[] | null, stat: ZookeeperStat | null]>,
  ): number;
  a_set(
    path: string,
    data: Buffer,
    version: number,
    done: Completion<[stat: ZookeeperStat | null]>,
  ): number;
  a_delete_(path: string, version: number, done: Completion<[]>): number;
  a_sync(path: string, done: Completion<[path: string]>): number;
  a_getconfig(
    watch: boolean,
    done: Completion<[stat: ZookeeperStat | null, data: Buffer | null]>,
  ): number;
}

/** One client: one session of the C library. */
export interface Client extends Wire {
  readonly client_id: string;
  readonly client_password: string;
  /** The negotiated session time-out in milliseconds; -1 without a handle. */
  readonly timeout: number;
  /** The binding itself, which the client's methods call. */
  readonly native?: Wire | undefined;
  init(config: ClientConfig): unknown;
  close(): unknown;
  on(event: string, listener: (client: unknown, detail: unknown) => void): unknown;
  add_auth(scheme: string, auth: string, done: Completion<[]>): number;
  a_set_acl(path: string, version: number, acl: readonly ClientAcl[], done: Completion<[]>): number;
}

/**
 * Where a client's requests go. Its own methods write all their arguments out for a log that is off,
 * at a fifth of the processor time of a request: so the binding is called below them.
 */
export function wireOf(client: Client): Wire {
  return client.native ?? client;
}

/** The package's class. */
export type ClientClass = new () => Client;

/** Flags of `a_create`. */
export const CREATE = {
  persistent: 0,
  ephemeral: 1,
  ephemeralSequential: 3,
  /** A parent that the server removes by itself some time after its last child went. */
  container: 4,
} as const;
