import { Pool } from 'pg';
import { serveParticipant } from 'tricord';
import { postgresParticipant } from 'tricord/postgres';
import { openCords } from '../cords.js';
import { type OpenService, Refusal, type ServiceSetup, SWEEP_MS } from './service.js';
import { openVotingSite } from './voting-site.js';

/** $1 sku, $2 order → a row, or none when sold out. The count of units is the token. */
const RESERVE_UNIT = `
  with taken as (
    update stock set units = units - 1, fencing_token = fencing_token + 1
    where sku = $1 and units > 0 returning units, fencing_token)
  insert into reservations (order_id, sku, units, units_left, fencing_token)
  select $2, $1, 1, units, fencing_token from taken`;

/** Reserves units in its own database, within the transaction of whoever calls. */
export async function openStock(setup: ServiceSetup): Promise<OpenService> {
  const cords = openCords(setup.coordination, setup.namespace);
  const voting = await openVotingSite(setup, cords);
  const pool = new Pool({
    connectionString: setup.databases.stock,
    max: 20,
    application_name: setup.node,
  });
  pool.on('error', () => {});
  const stock = postgresParticipant({ name: 'stock', pool });
  const served = serveParticipant<{ readonly orderId: string; readonly sku: string }, null>({
    store: cords.log,
    name: 'stock',
    nodeId: setup.node,
    namespace: setup.namespace,
    site: voting.site,
    participants: [stock],
    sweepMs: SWEEP_MS,
    handlers: {
      async prepare({ orderId, sku }, { enlist }) {
        const db = await enlist(stock);
        const { rowCount } = await db.query(RESERVE_UNIT, [sku, orderId]);
        if (rowCount === 0) throw new Refusal('SOLD_OUT');
        return null;
      },
    },
  });
  await served.ready;
  return {
    async close() {
      await served.close();
      await voting.close();
      await Promise.all([cords.close(), pool.end()]);
    },
  };
}
