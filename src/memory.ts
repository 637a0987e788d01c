/**
 * The in-process drivers.
 *
 * @module
 */
export type { MemoryLockOptions } from './drivers/memory/lock.js';
export { memoryLock } from './drivers/memory/lock.js';
