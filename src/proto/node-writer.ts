/**
 * Nodes as bytes without messages in between: a training graph has hundreds of thousands. The bytes are those that the
 * messages would give, in pieces of a megabyte.
 */

const pieceSize = 1 << 20;
const utf8 = new TextEncoder();

/** Tags of NodeProto's fields and of GraphProto's nodes, all with a length. */
const tags = { node: 0x0a, input: 0x0a, output: 0x12, name: 0x1a, opType: 0x22, domain: 0x3a } as const;

export interface PlainNode {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly name: string;
  readonly op: string;
  readonly domain: string;
  /** The encoded fields of the attributes. */
  readonly attributes: Uint8Array;
}

export class NodeWriter {
  private readonly pieces: Uint8Array[] = [];
  private buffer = new Uint8Array(1 << 12);
  private at = 0;
  private start = 0;
  /** Bytes so far. */
  private closed = 0;

  get length(): number {
    return this.closed + this.at - this.start;
  }

  chunks(): Uint8Array[] {
    this.close();
    return this.pieces;
  }

  node({ inputs, outputs, name, op, domain, attributes }: PlainNode): void {
    this.reserve(spaceFor(inputs) + spaceFor(outputs) + spaceFor([name, op, domain]) + attributes.length + 16);
    this.buffer[this.at++] = tags.node;
    // Most lengths take one byte; a longer one moves the content.
    const from = ++this.at;
    for (const input of inputs) this.string(tags.input, input);
    for (const output of outputs) this.string(tags.output, output);
    this.string(tags.name, name);
    this.string(tags.opType, op);
    if (attributes.length > 0) this.buffer.set(attributes, this.at);
    this.at += attributes.length;
    if (domain !== "") this.string(tags.domain, domain);
    this.closeLength(from);
  }

  /** A node that was encoded by other means. */
  encoded(chunks: readonly Uint8Array[]): void {
    this.reserve(16);
    this.buffer[this.at++] = tags.node;
    this.varint(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
    this.close();
    for (const chunk of chunks) {
      this.pieces.push(chunk);
      this.closed += chunk.length;
    }
  }

  private reserve(size: number): void {
    if (this.at + size <= this.buffer.length) return;
    this.close();
    this.buffer = new Uint8Array(Math.max(pieceSize, size));
    this.at = 0;
    this.start = 0;
  }

  private close(): void {
    if (this.at === this.start) return;
    this.pieces.push(this.buffer.subarray(this.start, this.at));
    this.closed += this.at - this.start;
    this.start = this.at;
  }

  /** Puts the length of what was written since `from` into the byte before it, and more bytes where it needs them. */
  private closeLength(from: number): void {
    const end = this.at;
    const length = end - from;
    const width = varintWidth(length);
    if (width > 1) this.buffer.copyWithin(from - 1 + width, from, end);
    this.at = from - 1;
    this.varint(length);
    this.at = end + width - 1;
  }

  private varint(value: number): void {
    let rest = value;
    while (rest > 127) {
      this.buffer[this.at++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    this.buffer[this.at++] = rest;
  }

  private string(tag: number, text: string): void {
    const { buffer } = this;
    const { length } = text;
    const began = this.at;
    buffer[this.at++] = tag;
    this.varint(length);
    let to = this.at;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) {
        this.at = began + 1;
        this.bytes(utf8.encode(text));
        return;
      }
      buffer[to++] = code;
    }
    this.at = to;
  }

  private bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
  }
}

/** An upper bound: a UTF-16 unit takes at most three bytes. */
function spaceFor(texts: readonly string[]): number {
  let space = 0;
  for (const text of texts) space += 3 * text.length + 6;
  return space;
}

function varintWidth(value: number): number {
  let width = 1;
  for (let rest = value; rest > 127; rest >>>= 7) width += 1;
  return width;
}
