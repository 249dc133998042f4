/**
 * Reader of protobuf messages for hostile input: bytes are views, unknown fields are kept, 64-bit integers are
 * numbers where exact, and the number of parsed items is bounded so that a small file cannot fill the memory.
 */

import protobuf from "protobufjs/minimal.js";

/** A network of fifty thousand nodes, annotated by its exporter, has some four million fields. */
const fieldLimit = 5_000_000;
/** Bytes of one packed list in an attribute or a shape. */
const packedLimit = 1 << 26;

export class MessageReader extends protobuf.Reader {
  private fields = 0;

  constructor(bytes: Uint8Array) {
    super(bytes);
    this.discardUnknown = false;
    // Assigned here because protobufjs installs these on its own prototype as properties.
    const readLong = protobuf.Reader.prototype.int64;
    this.int64 = () => this.integer(readLong) as ReturnType<typeof readLong>;
  }

  private integer(readLong: () => unknown): unknown {
    const first = this.buf[this.pos];
    if (first !== undefined && first < 128 && this.pos < this.len) {
      this.pos++;
      return first;
    }
    const long = readLong.call(this) as { low: number; high: number };
    const value = long.high * 2 ** 32 + (long.low >>> 0);
    return Number.isSafeInteger(value) ? value : long;
  }

  override tag(): number {
    if (++this.fields > fieldLimit) throw new Error(`more than ${fieldLimit} fields`);
    return super.tag();
  }

  override int64s(array?: Parameters<protobuf.Reader["int64s"]>[0]): ReturnType<protobuf.Reader["int64s"]> {
    this.checkPacked();
    return super.int64s(array);
  }

  override floats(array?: number[]): number[] {
    this.checkPacked();
    return super.floats(array);
  }

  private checkPacked(): void {
    const { pos } = this;
    if (this.size() > packedLimit) throw new Error(`a list of more than ${packedLimit} bytes`);
    this.pos = pos;
  }
}
