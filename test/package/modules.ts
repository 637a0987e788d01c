import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import ts from 'typescript';

/** What one built module loads and does at its top level. */
export interface BuiltModule {
  readonly path: string;
  /** What it imports statically: relative paths, packages, `node:` modules. */
  readonly imports: readonly string[];
  /** What it imports while it runs. */
  readonly dynamicImports: readonly string[];
  /** Top-level await would make `require()` of the package throw. */
  readonly hasTopLevelAwait: boolean;
  /** The source files that it was made of. */
  readonly sources: readonly string[];
}

/** An entry point of `dist` and every built module that it loads, itself first. */
export async function closureOf(entry: string): Promise<BuiltModule[]> {
  const found = new Map<string, BuiltModule>();
  const queue = [entry];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (found.has(path)) continue;
    const module = await readModule(path);
    found.set(path, module);
    const from = dirname(path);
    const relative = [...module.imports, ...module.dynamicImports].filter(isRelative);
    queue.push(...relative.map((specifier) => join(from, specifier)));
  }
  return [...found.values()];
}

const isRelative = (specifier: string): boolean => specifier.startsWith('.');

async function readModule(path: string): Promise<BuiltModule> {
  const text = await readFile(path, 'utf8');
  const map = JSON.parse(await readFile(`${path}.map`, 'utf8')) as { sources: string[] };
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, false, ts.ScriptKind.JS);
  const imports: string[] = [];
  const dynamicImports: string[] = [];
  let hasTopLevelAwait = false;

  const visit = (node: ts.Node, isTop: boolean): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      imports.push((node.moduleSpecifier as ts.StringLiteral).text);
    }
    const [argument] = ts.isCallExpression(node) && isImport(node) ? node.arguments : [];
    if (argument !== undefined) dynamicImports.push(textOf(argument));
    if (isTop && isAwait(node)) hasTopLevelAwait = true;
    const isStillTop = isTop && !ts.isFunctionLike(node) && !ts.isPropertyDeclaration(node);
    ts.forEachChild(node, (child) => visit(child, isStillTop));
  };
  visit(file, true);
  return { path, imports, dynamicImports, hasTopLevelAwait, sources: map.sources };
}

const isImport = (node: ts.CallExpression): boolean =>
  node.expression.kind === ts.SyntaxKind.ImportKeyword;

const textOf = (node: ts.Node): string =>
  ts.isStringLiteral(node) ? node.text : 'a computed name';

function isAwait(node: ts.Node): boolean {
  if (ts.isAwaitExpression(node)) return true;
  if (ts.isForOfStatement(node)) return node.awaitModifier !== undefined;
  return ts.isVariableDeclarationList(node) && (node.flags & ts.NodeFlags.AwaitUsing) === 6;
}
