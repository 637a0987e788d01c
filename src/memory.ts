/**
 * The in-process drivers.
 *
 * @module
 */
export type { MemoryBarrierOptions } from './drivers/memory/barrier.js';
export { memoryBarrier } from './drivers/memory/barrier.js';
export type { MemoryCacheOptions } from './drivers/memory/cache.js';
export { memoryCache } from './drivers/memory/cache.js';
export type { MemoryLockOptions } from './drivers/memory/lock.js';
export { memoryLock } from './drivers/memory/lock.js';
export type { MemoryParticipant, MemoryParticipantOptions } from './drivers/memory/participant.js';
export { memoryParticipant } from './drivers/memory/participant.js';
export type { MemoryBranch } from './drivers/memory/participant-branch.js';
export type { IncrementBounds } from './drivers/memory/participant-store.js';
export { memorySiteStorage } from './drivers/memory/site-storage.js';
export { memoryTransport } from './drivers/memory/site-transport.js';
export type { MemoryTransactionsOptions } from './drivers/memory/transactions.js';
export { memoryTransactions } from './drivers/memory/transactions.js';
