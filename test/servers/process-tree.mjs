// Plain JavaScript, because the reaper runs it without a loader.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

// The kernel stops a process within microseconds, unless it waits for a disk.
const STOP_PATIENCE_MS = 200;

/**
 * Signals a process and everything below it. The process group would not do: each of PostgreSQL's
 * backends makes itself the leader of a session of its own. Answers whom it signalled.
 */
export function signalTree(pid, signal) {
  // Stopped first, so that it cannot fork while its children are counted.
  send(pid, 'SIGSTOP');
  const patience = performance.now() + STOP_PATIENCE_MS;
  while (!isStill(pid) && performance.now() < patience);
  const children = descendants(pid);
  for (const each of [...children, pid]) send(each, signal);
  // A stopped process obeys SIGTERM and SIGINT only when it continues.
  if (signal !== 'SIGSTOP' && signal !== 'SIGKILL') send(pid, 'SIGCONT');
  return [...children, pid];
}

/** Whether a process does nothing: it is stopped, or it has ended, its parent knowing or not. */
export function isStill(pid) {
  return ['T', 'Z', undefined].includes(stateOf(pid));
}

/** Signals a process alone, e.g. to let it end its children in order. */
export function send(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended already.
  }
}

function descendants(pid) {
  const children = childrenByParent();
  const found = [];
  for (const queue = [pid]; queue.length > 0; ) {
    const below = children.get(queue.pop()) ?? [];
    found.push(...below);
    queue.push(...below);
  }
  return found;
}

/** One letter as `ps` prints it (T is stopped), or `undefined` for no such process. */
export function stateOf(pid) {
  try {
    if (process.platform === 'linux') return fieldsOf(pid)[0];
    const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
    return execFileSync('ps', ['-o', 'state=', '-p', String(pid)], options).trim()[0];
  } catch {
    return undefined;
  }
}

function childrenByParent() {
  const children = new Map();
  for (const [pid, parent] of allProcesses()) {
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  return children;
}

function allProcesses() {
  if (process.platform === 'linux') {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        try {
          return [[Number(name), Number(fieldsOf(name)[1])]];
        } catch {
          return [];
        }
      });
  }
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], {
    encoding: 'utf8',
  }).split('\n');
  return lines.filter(Boolean).map((line) => line.trim().split(/\s+/).map(Number));
}

/** State, parent, … of /proc/<pid>/stat: what follows the name, which may hold anything. */
function fieldsOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
