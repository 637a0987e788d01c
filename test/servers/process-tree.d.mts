export function signalTree(pid: number, signal: NodeJS.Signals): void;
export function send(pid: number, signal: NodeJS.Signals): void;
export function descendants(pid: number): number[];
export function stateOf(pid: number): string | undefined;
