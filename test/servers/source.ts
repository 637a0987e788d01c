import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ServerKind } from './handle.js';
import { findProgram, isRoot, run } from './programs.js';
import type { Recipe } from './recipe.js';

/** How a server of one's own can be run on this machine. */
export type Source<Programs> =
  | { readonly from: 'docker' }
  | { readonly from: 'binaries'; readonly programs: Programs };

const INSTALL_TIMEOUT_MS = 10 * 60_000;

/**
 * Decides how to run a kind of server: by Docker where it runs, else by the programs of the
 * machine, which are installed where that is possible without asking (Debian or Ubuntu, as root).
 * `TRICORD_SERVERS=docker` or `=binaries` forces one. Never answers "skip": it throws one sentence
 * that tells what to install.
 */
export async function findSource<Options, Programs>(
  recipe: Recipe<Options, Programs>,
): Promise<Source<Programs>> {
  const wanted = process.env.TRICORD_SERVERS;
  if (wanted !== undefined && wanted !== 'docker' && wanted !== 'binaries') {
    throw new Error(`TRICORD_SERVERS is "${wanted}"; use docker or binaries`);
  }
  if (wanted !== 'binaries' && (wanted === 'docker' || (await hasDocker()))) {
    return { from: 'docker' };
  }
  return { from: 'binaries', programs: await findPrograms(recipe) };
}

/** The programs of the machine, installed where need be. */
export async function findPrograms<Options, Programs>(
  recipe: Recipe<Options, Programs>,
): Promise<Programs> {
  const programs = (await recipe.findPrograms()) ?? (await install(recipe));
  if (programs !== undefined) return programs;
  throw new Error(remedy(recipe.kind, recipe.packages));
}

let docker: Promise<boolean> | undefined;

/** Whether a Docker engine answers. Asked once a process, and only where there may be one. */
function hasDocker(): Promise<boolean> {
  const places = ['/var/run/docker.sock', join(homedir(), '.docker/run/docker.sock')];
  const configuration = join(homedir(), '.testcontainers.properties');
  const isLikely =
    process.env.DOCKER_HOST !== undefined || [...places, configuration].some(existsSync);
  docker ??= isLikely ? answersDocker() : Promise.resolve(false);
  return docker;
}

async function answersDocker(): Promise<boolean> {
  try {
    const { getContainerRuntimeClient } = await import('testcontainers');
    await getContainerRuntimeClient();
    return true;
  } catch (error) {
    // Said, because somebody who has Docker expects it to be used.
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`Docker does not answer (${reason}); using programs of this machine\n`);
    return false;
  }
}

async function install<Options, Programs>(
  recipe: Recipe<Options, Programs>,
): Promise<Programs | undefined> {
  const apt = await findProgram('apt-get');
  if (apt === undefined || !isRoot()) return undefined;
  process.stderr.write(`installing ${recipe.packages.join(' ')} with apt-get for the tests\n`);
  const options = {
    timeout: INSTALL_TIMEOUT_MS,
    // RUNLEVEL=1: the packages must not start services of their own.
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  };
  const wait = ['-o', 'DPkg::Lock::Timeout=300'];
  try {
    await run(apt, [...wait, 'update', '-qq'], options);
    const packages = ['install', '-y', '-qq', '--no-install-recommends', ...recipe.packages];
    await run(apt, [...wait, ...packages], options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${remedy(recipe.kind, recipe.packages)} (apt-get: ${reason.trim()})`);
  }
  return recipe.findPrograms();
}

const remedy = (kind: ServerKind, packages: readonly string[]): string =>
  `the tests need a ${kind} server: start Docker, or install it (on Debian and Ubuntu: ` +
  `apt-get install ${packages.join(' ')})`;
