/** The package's types leave this file of it out. */

declare module "crc-32/crc32c.js" {
  const crc32c: {
    /** CRC-32C (Castagnoli, RFC 3720) as a signed number. */
    buf(bytes: Uint8Array, seed?: number): number;
  };
  export = crc32c;
}
