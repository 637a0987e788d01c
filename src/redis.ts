/**
 * The Redis drivers.
 *
 * @module
 */
export {};
