import { Pool } from 'pg';
import { serveParticipant } from 'tricord';
import { postgresParticipant } from 'tricord/postgres';
import { openCords } from '../cords.js';
import { type OpenService, Refusal, type ServiceSetup, SWEEP_MS } from './service.js';
import { openVotingSite } from './voting-site.js';

/** $1 buyer, $2 cents, $3 order → a row, or none when the wallet holds too little. */
const TAKE_PAYMENT = `
  with charged as (
    update wallets set balance_cents = balance_cents - $2
    where buyer = $1 and balance_cents >= $2 returning buyer)
  insert into payments (order_id, buyer, cents) select $3, buyer, $2 from charged`;

interface Charge {
  readonly orderId: string;
  readonly buyer: string;
  readonly cents: number;
}

/** Charges wallets in its own database, within the transaction of whoever calls. */
export async function openPayments(setup: ServiceSetup): Promise<OpenService> {
  const cords = openCords(setup.coordination, setup.namespace);
  const voting = await openVotingSite(setup, cords);
  const pool = new Pool({
    connectionString: setup.databases.payments,
    max: 20,
    application_name: setup.node,
  });
  pool.on('error', () => {});
  const payments = postgresParticipant({ name: 'payments', pool });
  const served = serveParticipant<Charge, null>({
    store: cords.log,
    name: 'payment',
    nodeId: setup.node,
    namespace: setup.namespace,
    site: voting.site,
    participants: [payments],
    sweepMs: SWEEP_MS,
    handlers: {
      async prepare({ orderId, buyer, cents }, { enlist }) {
        const db = await enlist(payments);
        const { rowCount } = await db.query(TAKE_PAYMENT, [buyer, cents, orderId]);
        if (rowCount === 0) throw new Refusal('DECLINED');
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
