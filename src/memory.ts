/**
 * The in-process drivers.
 *
 * @module
 */
export {};
