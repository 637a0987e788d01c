import { dirname, join } from 'node:path';
import ts from 'typescript';
import { type DocumentedProgram, ROOT } from './programs.js';

/**
 * Type-checks programs as a strict project of a user would, against the sources. Answers one line a
 * mistake, with the line of the program that it is in.
 */
export function typeErrorsOf(programs: readonly DocumentedProgram[]): readonly string[] {
  const options = compilerOptions();
  const host = ts.createCompilerHost(options);
  // They stand beside this file, so that the client packages are found; nothing is written.
  const fileOf = (index: number): string => join(import.meta.dirname, `program-${index}.mts`);
  const files = new Map(programs.map(({ code }, index) => [fileOf(index), code]));
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (file) => files.has(file) || fileExists(file);
  host.readFile = (file) => files.get(file) ?? readFile(file);
  host.getSourceFile = (file, languageOrOptions, ...rest) => {
    const code = files.get(file);
    return code === undefined
      ? getSourceFile(file, languageOrOptions, ...rest)
      : ts.createSourceFile(file, code, languageOrOptions);
  };
  const program = ts.createProgram([...files.keys()], options, host);
  return [...files.keys()].flatMap((file, index) => {
    const source = program.getSourceFile(file);
    const found = [
      ...program.getSyntacticDiagnostics(source),
      ...program.getSemanticDiagnostics(source),
    ];
    return found.map(({ messageText, start = 0 }) => {
      const line = source?.getLineAndCharacterOfPosition(start).line ?? 0;
      const text = ts.flattenDiagnosticMessageText(messageText, ' ');
      return `${programs[index]?.name}, line ${line + 1} of it: ${text}`;
    });
  });
}

function compilerOptions(): ts.CompilerOptions {
  const path = join(ROOT, 'test/tsconfig.json');
  const read = ts.readConfigFile(path, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(read.config, ts.sys, dirname(path));
  return { ...options, noEmit: true, noUnusedLocals: false };
}
