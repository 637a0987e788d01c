import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { taskContext } from '../../../src/core/task-context.js';

test('a task is inside of its value across awaits, and other tasks between them are not', async () => {
  const context = taskContext<string>();
  const seen: (string | undefined)[] = [];
  const task = async (name: string): Promise<void> => {
    for (let count = 0; count < 3; count += 1) {
      seen.push(context.value === name ? name : `${context.value} in ${name}`);
      await turn();
    }
  };
  const outside = (async () => {
    await turn();
    return context.value;
  })();
  await Promise.all([context.run('a', () => task('a')), context.run('b', () => task('b'))]);
  expect(seen).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
  expect(await outside).toBeUndefined();
  expect(context.value).toBeUndefined();
  context.dispose();
});

test('it goes along with then, all, thenables and promises that a callback resolves', async () => {
  const context = taskContext<number>();
  // biome-ignore lint/suspicious/noThenProperty: query builders answer such objects.
  const thenable = { then: (done: (value: unknown) => void) => done(context.value) };
  const values = await context.run(1, async () => [
    await Promise.resolve().then(() => context.value),
    await Promise.all([turn().then(() => context.value)]),
    await thenable,
    await new Promise((resolve) => setTimeout(resolve, 1)).then(() => context.value),
  ]);
  expect(values).toEqual([1, [1], 1, 1]);
  context.dispose();
});

test('each context has a value of its own, the innermost one', async () => {
  const one = taskContext<string>();
  const other = taskContext<string>();
  await one.run('outer', () =>
    other.run('between', async () => {
      await turn();
      expect([one.value, other.value]).toEqual(['outer', 'between']);
      await one.run('inner', async () => {
        await turn();
        expect([one.value, other.value]).toEqual(['inner', 'between']);
      });
      expect(one.value).toBe('outer');
    }),
  );
  one.dispose();
  expect(await other.run('still', async () => turn().then(() => other.value))).toBe('still');
  other.dispose();
});

test("what throws leaves the value, and Node's own storage works beside it", async () => {
  const context = taskContext<string>();
  const storage = new AsyncLocalStorage<string>();
  expect(() =>
    context.run('x', () => {
      throw new Error('thrown');
    }),
  ).toThrow('thrown');
  expect(context.value).toBeUndefined();
  const both = await storage.run('theirs', () =>
    context.run('ours', async () => {
      await turn();
      return [storage.getStore(), context.value];
    }),
  );
  expect(both).toEqual(['theirs', 'ours']);
  storage.disable();
  context.dispose();
});
