/**
 * The ZooKeeper drivers.
 *
 * @module
 */
export {};
