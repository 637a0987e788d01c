// A process that takes a lock, tells so, and keeps it until it is killed:
//
//   node b5-holder-process.ts ‹url› ‹folder of the peers› ‹contender› ‹resource› ‹ttlMs›

import { type Contender, openClient } from './peers.js';

const [url = '', folder = '', contender = '', resource = '', ttlMs = ''] = process.argv.slice(2);
const client = openClient(contender as Contender, url, folder);
await client.guard(resource, Number(ttlMs), () => {});
process.send?.('held');
process.once('disconnect', () => process.exit(0));
