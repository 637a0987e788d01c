export type {
  CallOptions,
  Grant,
  GrantRequest,
  LockBackend,
  LockDriver,
  LockInspection,
  LockMode,
  LockNode,
  LockParty,
  RenewReply,
} from './driver.js';
