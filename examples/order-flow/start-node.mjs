// A node of the shop as a process of its own; see remote-node.ts.

import { runTypescript } from './typescript.mjs';

await runTypescript('./node-process.ts');
