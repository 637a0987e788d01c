import { seededRandom } from 'tricord';

/** What the shop sells today, and for how long there is any of it. */
export interface Product {
  readonly sku: string;
  readonly name: string;
  readonly priceCents: number;
  readonly units: number;
}

/** Somebody who wants one unit of one product. The order's id is theirs before the shop hears of it. */
export interface Buyer {
  readonly orderId: string;
  readonly name: string;
  readonly sku: string;
  readonly walletCents: number;
}

/** A flash sale before it opens: the same numbers and the same seed give the same sale. */
export interface Offer {
  readonly products: readonly Product[];
  readonly buyers: readonly Buyer[];
}

const GOODS: readonly (readonly [name: string, priceCents: number])[] = [
  ['espresso machine', 249_00],
  ['walnut turntable', 379_00],
  ['carbon road bike', 1_899_00],
  ['wool blanket', 89_00],
  ['fountain pen', 64_50],
  ['film camera', 545_00],
  ['cast iron pan', 72_90],
  ['desk lamp', 119_00],
  ['trail shoes', 134_95],
  ['chess set', 58_00],
];

/** One buyer in twenty comes with an empty wallet: the payment will be declined. */
const EMPTY_WALLETS = 0.05;

export interface OfferSize {
  readonly products: number;
  readonly units: number;
  readonly buyers: number;
  readonly seed: number;
}

export function makeOffer({ products, units, buyers, seed }: OfferSize): Offer {
  const random = seededRandom(seed);
  const goods = Array.from({ length: products }, (_, i) => productOf(i, units));
  const queue = Array.from({ length: buyers }, (_, i): Buyer => {
    const wanted = goods[Math.floor(random.fraction() * goods.length)] ?? productOf(0, units);
    const isBroke = random.fraction() < EMPTY_WALLETS;
    return {
      orderId: `order-${String(i + 1).padStart(5, '0')}`,
      name: `buyer-${String(i + 1).padStart(5, '0')}`,
      sku: wanted.sku,
      walletCents: isBroke ? 0 : wanted.priceCents + Math.floor(random.fraction() * 200_00),
    };
  });
  return { products: goods, buyers: queue };
}

function productOf(index: number, units: number): Product {
  const [good, priceCents] = GOODS[index % GOODS.length] ?? ['gift card', 25_00];
  const series = Math.floor(index / GOODS.length);
  const name = series === 0 ? good : `${good} no. ${series + 1}`;
  return { sku: `sku:${name.replace(/\W+/g, '-')}`, name, priceCents, units };
}
