// Starts one server of each kind, tells where they listen, and ends as it is told.

import { startPostgres, startRedis, startZookeeper } from '../../servers/provider.js';

const servers = await Promise.all([startRedis(), startZookeeper(), startPostgres()]);
process.stdout.write(`${JSON.stringify(servers.map(({ host, port }) => ({ host, port })))}\n`);

const [ending] = process.argv.slice(2);
if (ending === 'crash') setTimeout(() => Promise.reject(new Error('crash')), 50);
else if (ending === 'exit') process.exitCode = 0;
else setInterval(() => {}, 1_000);
