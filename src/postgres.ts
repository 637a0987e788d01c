/**
 * The PostgreSQL drivers.
 *
 * @module
 */
export {};
