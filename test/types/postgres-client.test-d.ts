// A real pool of `pg` fits where tricord takes one, and the enlisted client is typed as its own.

import type pg from 'pg';
import {
  type PostgresBranchClient,
  type PostgresPool,
  postgresParticipant,
} from 'tricord/postgres';
import { expectTypeOf, test } from 'vitest';

declare const pool: pg.Pool;
declare const db: PostgresBranchClient<pg.Pool>;

test('a Pool of pg 8 is a PostgresPool', () => {
  expectTypeOf<pg.Pool>().toExtend<PostgresPool>();
  expectTypeOf(postgresParticipant({ name: 'orders', pool }).enlist)
    .returns.resolves.toHaveProperty('handle')
    .toEqualTypeOf<PostgresBranchClient<pg.Pool>>();
});

test('the enlisted client has query with the overloads of pg, and nothing else', () => {
  expectTypeOf<keyof PostgresBranchClient<pg.Pool>>().toEqualTypeOf<'query' | 'last'>();
  expectTypeOf(db).toExtend<Pick<pg.ClientBase, 'query'>>();
  expectTypeOf(db.query<{ n: number }>('select 1 as n')).resolves.toEqualTypeOf<
    pg.QueryResult<{ n: number }>
  >();
  expectTypeOf(db.query<[number]>({ text: 'select 1', rowMode: 'array' })).resolves.toEqualTypeOf<
    pg.QueryArrayResult<[number]>
  >();
});
