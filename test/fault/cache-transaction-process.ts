// A process that changes a price and is killed on the way:
// node cache-transaction-process.ts ‹config as JSON›

import { priceShop } from './cache-transaction-stage.js';

const shop = priceShop(JSON.parse(process.argv[2] ?? '{}'));
await shop.change('sku', 2);
process.exit(7);
