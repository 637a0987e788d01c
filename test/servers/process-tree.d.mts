export function signalTree(pid: number, signal: NodeJS.Signals): number[];
export function isStill(pid: number): boolean;
export function send(pid: number, signal: NodeJS.Signals): void;
export function stateOf(pid: number): string | undefined;
