// One service of the shop as a process of its own; see service-process.ts.

import { runTypescript } from '../typescript.mjs';

await runTypescript('./services/service-process.ts');
