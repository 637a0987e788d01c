import Table from 'cli-table3';
import { withoutLogin } from '../core/secrets.js';
import type { BranchDiagnosis, Diagnosis } from './diagnosis.js';

/** 0: nothing waits for anybody. 2: something does. 1: not everything could be looked at. */
export function exitCodeOf({ branches, errors }: Diagnosis): 0 | 1 | 2 {
  if (branches.some(({ isInDoubt }) => isInDoubt)) return 2;
  return errors.length > 0 ? 1 : 0;
}

/** The diagnosis as a table and a sentence. */
export function diagnosisText(diagnosis: Diagnosis): string {
  const { branches, errors, namespace } = diagnosis;
  const lines = errors.map((error) => `error: ${error}`);
  if (branches.length > 0) lines.unshift(branchTable(branches));
  const inDoubt = branches.filter(({ isInDoubt }) => isInDoubt).length;
  const others = branches.length - inDoubt;
  const rest = others === 0 ? '' : `, ${others} that ${others === 1 ? 'needs' : 'need'} nothing`;
  const seen = errors.length === 0 ? '' : ', as far as could be looked at';
  lines.push(`namespace ${namespace}: ${counted(inDoubt, 'branch', 'es')} in doubt${rest}${seen}`);
  if (inDoubt > 0) {
    lines.push(
      'A coordinator of this namespace finishes them by itself. By hand, only where none comes back:',
      '  tricord doctor … --resolve <branch> commit|abort --reason "…"',
    );
  }
  return `${lines.join('\n')}\n`;
}

/** `1 branch`, `2 branches`. */
export function counted(count: number, noun: string, plural: string): string {
  return `${count} ${noun}${count === 1 ? '' : plural}`;
}

function branchTable(branches: readonly BranchDiagnosis[]): string {
  const head = ['branch', 'resource', 'age', 'coordinator', 'decision', 'evidence'];
  const rows = branches.map((each) => [
    each.branchId,
    each.participant,
    ageText(each.ageMs),
    each.coordinator,
    each.decision,
    each.evidence,
    each.blockedSessions ?? '–',
    each.vacuumHorizon ?? '–',
    each.action,
  ]);
  return plainTable([...head, 'blocked', 'vacuum', 'safe action'], rows);
}

/** A table without colours, so that it can be kept in a file. */
export function plainTable(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string {
  const table = new Table({ head: [...head], style: { head: [], border: [], compact: true } });
  for (const row of rows) table.push([...row]);
  return table.toString();
}

/** Milliseconds as people say them. */
export function ageText(ageMs: number | undefined): string {
  if (ageMs === undefined) return '–';
  const units = [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'min'],
    [1_000, 's'],
  ] as const;
  const [sizeMs, unit] = units.find(([size]) => ageMs >= size) ?? [1, 'ms'];
  return `${Math.floor(ageMs / sizeMs)} ${unit}`;
}

/** `password=…`, `"secret": "…"` and the like. */
const SECRET = /(\b(?:password|passwd|pwd|secret)["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s&,;}]+)/gi;

/** Any `user:password@` of an address in a text; a message of a client may hold one. */
export function withoutSecrets(text: string): string {
  return withoutLogin(text).replace(SECRET, '$1***');
}
