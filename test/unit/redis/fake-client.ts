import { EventEmitter } from 'node:events';
import type { RedisClient, RedisClientOptions } from '../../../src/drivers/redis/client.js';

/** A client without a server: what it is asked is recorded, and answered by hand. */
export class FakeClient extends EventEmitter implements RedisClient {
  status = 'ready';
  isCluster = false;
  options: RedisClientOptions = {};
  version = '7.0.0';
  readonly sent: { readonly text: string; readonly values: readonly unknown[] }[] = [];
  answer: (text: string) => Promise<unknown> = () => new Promise(() => {});

  connect(): Promise<unknown> {
    this.status = 'connecting';
    return Promise.resolve();
  }

  eval(lua: string, _keyCount: number, ...values: unknown[]): Promise<unknown> {
    return this.#send(lua, values);
  }

  evalsha(sha1: string, _keyCount: number, ...values: unknown[]): Promise<unknown> {
    return this.#send(sha1, values);
  }

  info(): Promise<string> {
    return Promise.resolve(`# Server\r\nredis_version:${this.version}\r\n`);
  }

  config(): Promise<unknown> {
    return Promise.reject(replyError('NOPERM no permissions'));
  }

  duplicate(): never {
    throw new Error('no second connection here');
  }

  /** Changes the status as ioredis does, with its event. */
  become(status: string): void {
    this.status = status;
    this.emit(status);
  }

  #send(text: string, values: unknown[]): Promise<unknown> {
    this.sent.push({ text, values });
    return this.answer(text);
  }
}

/** An error as the server's reply parser makes it. */
export function replyError(message: string): Error {
  return Object.assign(new Error(message), { name: 'ReplyError' });
}
