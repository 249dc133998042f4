/**
 * Writer of protobuf messages that keeps large byte fields as the caller's views: it yields the file as a list of
 * pieces, so that weights are never copied while a model is put together.
 */

import protobuf from "protobufjs/minimal.js";

/** Below this a copy costs less than a piece of its own. */
const inlineLimit = 4096;

/** Bytes that stand in the output at position `at` of the writer's own buffer. */
interface Splice {
  at: number;
  readonly bytes: Uint8Array;
}

export class MessageWriter extends protobuf.Writer {
  private readonly splices: Splice[] = [];
  private spliced = 0;
  private readonly forks: { at: number; spliced: number; splices: number }[] = [];

  override bytes(value: Uint8Array): this {
    if (value.length < inlineLimit) return super.bytes(value) as this;
    this.uint32(value.length);
    this.splice(value);
    return this;
  }

  override raw(value: Uint8Array): this {
    if (value.length < inlineLimit) return super.raw(value) as this;
    this.splice(value);
    return this;
  }

  private splice(bytes: Uint8Array): void {
    this.splices.push({ at: this.pos, bytes });
    this.spliced += bytes.length;
  }

  override fork(): this {
    this.forks.push({ at: this.pos, spliced: this.spliced, splices: this.splices.length });
    return this;
  }

  /** Closes a message: puts its length, spliced bytes included, before it. */
  override ldelim(): this {
    const fork = this.forks.pop();
    if (fork === undefined) throw new Error("ldelim without fork");
    const end = this.pos;
    this.uint32(end - fork.at + this.spliced - fork.spliced);
    const width = this.pos - end;
    // Rotate: the length was written behind the content and belongs before it.
    const length = this.buf.slice(end, this.pos);
    this.buf.copyWithin(fork.at + width, fork.at, end);
    this.buf.set(length, fork.at);
    for (let i = fork.splices; i < this.splices.length; i++) (this.splices[i] as Splice).at += width;
    return this;
  }

  chunks(): Uint8Array[] {
    const own = this.finish();
    const chunks: Uint8Array[] = [];
    let from = 0;
    for (const { at, bytes } of this.splices) {
      if (at > from) chunks.push(own.subarray(from, at));
      chunks.push(bytes);
      from = at;
    }
    if (own.length > from) chunks.push(own.subarray(from));
    return chunks;
  }
}
