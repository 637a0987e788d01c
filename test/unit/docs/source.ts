import { join } from 'node:path';
import ts from 'typescript';
import { ROOT } from './programs.js';

/** A diagnostics channel as the source creates it. */
export interface SourceChannel {
  readonly name: string;
  readonly kind: 'event' | 'tracing';
  readonly payload: string;
}

/** What documents say of the source, read from the source by the compiler. */
export interface SourceFacts {
  /** The keys of `ErrorDetails`. */
  readonly errorCodes: readonly string[];
  readonly channels: readonly SourceChannel[];
  /** What the entry point `tricord` exports. */
  readonly exportedNames: readonly string[];
}

/** Reads the sources once. */
export function sourceFacts(): SourceFacts {
  const entry = join(ROOT, 'src/index.ts');
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const program = ts.createProgram([entry], options);
  const checker = program.getTypeChecker();
  const index = program.getSourceFile(entry);
  const module = index && checker.getSymbolAtLocation(index);
  const exported = module ? checker.getExportsOfModule(module) : [];
  const details = exported.find(({ name }) => name === 'ErrorDetails');
  const sources = program.getSourceFiles().filter(({ fileName }) => isOurs(fileName));
  return {
    errorCodes: details
      ? checker.getDeclaredTypeOfSymbol(aliased(checker, details)).getProperties().map(nameOf)
      : [],
    channels: sources.flatMap((source) => channelsIn(source, checker)),
    exportedNames: exported.map(nameOf),
  };
}

const isOurs = (file: string): boolean => file.startsWith(join(ROOT, 'src'));
const nameOf = ({ name }: ts.Symbol): string => name;

function aliased(checker: ts.TypeChecker, symbol: ts.Symbol): ts.Symbol {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

function channelsIn(source: ts.SourceFile, checker: ts.TypeChecker): readonly SourceChannel[] {
  const found: SourceChannel[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node)) {
      const kind = { eventChannel: 'event', operationChannel: 'tracing' }[
        node.expression.getText()
      ];
      const [name] = node.arguments;
      if (kind !== undefined && name !== undefined && ts.isStringLiteral(name)) {
        const type = checker.getTypeAtLocation(node) as ts.TypeReference;
        const [payload] = checker.getTypeArguments(type);
        found.push({
          name: name.text,
          kind: kind as SourceChannel['kind'],
          payload: payload ? checker.typeToString(payload) : '?',
        });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}
