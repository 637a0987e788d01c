/**
 * For the tests of drivers and of programs that use tricord: contract kits bound to no test runner,
 * and a virtual clock.
 *
 * @module
 */
export type { ContractCase } from './testing/contract.js';
export { lockDriverContract } from './testing/lock-contract.js';
export type {
  LockContender,
  LockContractSettings,
  LockDriverSubject,
} from './testing/lock-stage.js';
export type { VirtualClock } from './testing/virtual-clock.js';
export { virtualClock } from './testing/virtual-clock.js';
