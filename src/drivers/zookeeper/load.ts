import { CoordinationError } from '../../core/errors.js';
import type { ClientClass } from './client.js';

const INSTALL = 'npm install zookeeper';
const REBUILD = 'npm rebuild zookeeper';

/** How the package is imported; tests pass another. */
export type ClientImport = () => Promise<unknown>;

const importClient: ClientImport = () => import('zookeeper');

/**
 * Loads the optional package `zookeeper`. Rejects with ZOOKEEPER_MISSING or ZOOKEEPER_NOT_BUILT,
 * which name the command that helps.
 */
export async function loadClient(load: ClientImport = importClient): Promise<ClientClass> {
  const loaded = await load().catch((cause: unknown) => {
    throw isMissing(cause) ? missingError(cause) : notBuiltError(cause);
  });
  const client = (loaded as { readonly default?: unknown }).default;
  if (typeof client !== 'function') throw notBuiltError(undefined);
  return client as ClientClass;
}

function isMissing(cause: unknown): boolean {
  const { code, message } = cause as { readonly code?: unknown; readonly message?: unknown };
  const notFound = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
  // A dependency of the package that is missing means a broken installation, not an absent one.
  return notFound && /['"]zookeeper['"]/.test(String(message));
}

function missingError(cause: unknown): CoordinationError<'ZOOKEEPER_MISSING'> {
  return new CoordinationError(
    'ZOOKEEPER_MISSING',
    `the optional package zookeeper is not installed; run \`${INSTALL}\``,
    { install: INSTALL },
    { cause },
  );
}

function notBuiltError(cause: unknown): CoordinationError<'ZOOKEEPER_NOT_BUILT'> {
  return new CoordinationError(
    'ZOOKEEPER_NOT_BUILT',
    'the package zookeeper is installed, but its native part was not built: npm did not run its ' +
      'install script, or python3, make and a C++ compiler were missing. Allow the script ' +
      '(`npm approve-scripts zookeeper`, or "allowScripts": { "zookeeper": true } in ' +
      `package.json) and run \`${REBUILD}\``,
    { rebuild: REBUILD },
    { cause },
  );
}
