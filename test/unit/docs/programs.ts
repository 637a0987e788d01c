import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the repository. */
export const ROOT: string = fileURLToPath(new URL('../../..', import.meta.url));

/** Every page below docs that is written by hand. */
export function documents(): readonly string[] {
  return ['tutorial', 'how-to', 'reference', 'explanation'].flatMap((kind) =>
    readdirSync(join(ROOT, 'docs', kind), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.md'))
      .map((path) => `docs/${kind}/${path}`),
  );
}

/** A program that stands in a document. */
export interface DocumentedProgram {
  /** Where it begins, for example `README.md:42`. */
  readonly name: string;
  readonly code: string;
  /** Whether it needs nothing but the memory drivers, and is executed. */
  readonly runs: boolean;
  /** What it prints, by the comment behind each `console.log`. */
  readonly prints: readonly string[];
}

const FENCE = /^```(\S*) *(.*)$/;

/**
 * The TypeScript of a document. A block that opens with `ts` is a program of its own, `ts continued`
 * goes on with the one before, and `ts check` is type-checked alone, because it needs a server.
 */
export function programsOf(path: string): readonly DocumentedProgram[] {
  const programs: { name: string; code: string; runs: boolean }[] = [];
  let open: { name: string; code: string; runs: boolean } | undefined;
  let isInBlock = false;
  for (const [index, line] of readFileSync(join(ROOT, path), 'utf8').split('\n').entries()) {
    const [fence, language, role = ''] = FENCE.exec(line) ?? [];
    if (fence === undefined) {
      if (open) open.code += `${line}\n`;
      continue;
    }
    isInBlock = !isInBlock;
    open = undefined;
    if (!isInBlock || language !== 'ts') continue;
    if (!['', 'continued', 'check'].includes(role)) throw new Error(`${path}: what is "${line}"?`);
    open = role === 'continued' ? programs.at(-1) : undefined;
    if (open) continue;
    open = { name: `${path}:${index + 1}`, code: '', runs: role !== 'check' };
    programs.push(open);
  }
  return programs.map((program) => ({ ...program, prints: printsOf(program) }));
}

function printsOf({ name, code }: { readonly name: string; readonly code: string }): string[] {
  const lines = code.split('\n').filter((line) => line.includes('console.log('));
  return lines.map((line) => {
    const [, output] = /\); \/\/ (.+)$/.exec(line) ?? [];
    if (output === undefined) throw new Error(`${name}: say behind it what this prints: ${line}`);
    return output;
  });
}
