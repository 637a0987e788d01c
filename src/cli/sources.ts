import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { invalidArgument } from '../core/validate.js';
import type { LockDriver } from '../lock/driver.js';
import type { DecisionLog } from '../transaction/decision-log.js';
import type { Participant } from '../transaction/participant.js';
import { type AddressFlags, openAddresses } from './addresses.js';

/**
 * What the commands look at: the service's own log, participants, clients and lock driver. A module
 * that is given to `tricord doctor` or `tricord locks` exports any of these by name, or a function
 * `open` that answers them.
 */
export interface CommandSources {
  /** Where decisions live; without it nothing can be said about decisions. */
  readonly log?: DecisionLog | undefined;
  /** The participants, as the coordinator has them. */
  readonly participants?: readonly Participant[] | undefined;
  /** Pools of participants by their names, for what the server tells beyond: blocked sessions. */
  readonly clients?: Readonly<Record<string, unknown>> | undefined;
  /** The driver of the service's locks. */
  readonly locks?: LockDriver | undefined;
  /** The coordinator's namespace. Default `default`. */
  readonly namespace?: string | undefined;
  /** Lets go of what the module opened. */
  readonly close?: (() => unknown) | undefined;
}

/** Opens what a command line names: a module, or plain addresses. */
export async function openSources(
  path: string | undefined,
  flags: AddressFlags,
): Promise<CommandSources> {
  if (path === undefined) return openAddresses(flags);
  const file = pathToFileURL(path);
  if (!existsSync(file)) throw invalidArgument('module', path, 'the path of a file that is there');
  const module: unknown = await import(file.href);
  return checked(path, await opened(module));
}

async function opened(module: unknown): Promise<unknown> {
  if (typeof module !== 'object' || module === null) return module;
  const { open, default: fallback } = module as Record<string, unknown>;
  if (typeof open === 'function') return open();
  const hasNames = ['log', 'participants', 'locks'].some((name) => name in module);
  if (hasNames) return module;
  return typeof fallback === 'function' ? fallback() : (fallback ?? module);
}

function checked(path: string, value: unknown): CommandSources {
  const remedy = 'a module that exports log, participants or locks (or open() that answers them)';
  if (typeof value !== 'object' || value === null) throw invalidArgument('module', path, remedy);
  const { log, participants, locks } = value as CommandSources;
  if (log === undefined && participants === undefined && locks === undefined) {
    throw invalidArgument('module', path, remedy);
  }
  if (log !== undefined && typeof log.open !== 'function') {
    throw invalidArgument('log', path, 'a decision log, for example redisTransactions({ client })');
  }
  const isList = participants === undefined || Array.isArray(participants);
  if (!isList || participants?.some((each) => typeof each?.recover !== 'function')) {
    throw invalidArgument('participants', path, 'an array of participants');
  }
  return value as CommandSources;
}
