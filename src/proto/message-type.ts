/**
 * Messages by a table of their fields: bytes ↔ objects with protobufjs's reader and writer, without code made at run time,
 * which a page's policy would have to allow. Unknown fields are kept, and come last when written.
 */

import type protobuf from "protobufjs/minimal.js";

const scalars = { int32: 0, int64: 0, float: 5, string: 2, bytes: 2 } as const;
type Scalar = keyof typeof scalars;

/** As deep as protobufjs goes. */
const deepest = 100;

const emptyList: readonly unknown[] = Object.freeze([]);
const defaults: Readonly<Record<Scalar, unknown>> = { int32: 0, int64: 0, float: 0, string: "", bytes: new Uint8Array(0) };

export interface Field {
  readonly name: string;
  readonly id: number;
  readonly repeated: boolean;
  /** One of the fields of which a message has one at most. */
  readonly choice: boolean;
  readonly scalar: Scalar | undefined;
  /** Of a message, by name. */
  readonly type: string;
}

export function fieldOf(name: string, type: string, id: number, repeated: boolean, choice: boolean): Field {
  return { name, id, repeated, choice, type, scalar: type in scalars ? (type as Scalar) : undefined };
}

function scalarFrom(reader: protobuf.Reader, scalar: Scalar): unknown {
  switch (scalar) {
    case "string":
      return reader.string();
    case "int64":
      return reader.int64();
    case "int32":
      return reader.int32();
    case "bytes":
      return reader.bytes();
    case "float":
      return reader.float();
  }
}

type Message = Record<string, unknown> & { $unknowns?: Uint8Array[] };

export class MessageType {
  readonly name: string;
  readonly fields: readonly Field[];
  private readonly byId: (Field | undefined)[] = [];
  private readonly wire: number[] = [];
  private readonly choices: readonly string[];
  private readonly types: ReadonlyMap<string, MessageType>;
  private readonly empty: new () => Message;

  /** @param types where the types of fields are looked up when they are met */
  constructor(name: string, fields: readonly Field[], types: ReadonlyMap<string, MessageType>) {
    this.name = name;
    this.types = types;
    this.fields = [...fields].sort((a, b) => a.id - b.id);
    this.choices = fields.filter(({ choice }) => choice).map((field) => field.name);
    function message() {}
    for (const field of fields) {
      this.byId[field.id] = field;
      this.wire[field.id] = field.scalar === undefined ? 2 : scalars[field.scalar];
      // Read where the file has none.
      message.prototype[field.name] = field.repeated ? emptyList : field.scalar === undefined ? null : defaults[field.scalar];
    }
    this.empty = message as unknown as new () => Message;
  }

  private typeOf(field: Field): MessageType {
    return this.types.get(field.type) as MessageType;
  }

  /** @throws Error or RangeError where the bytes are no message */
  decode(reader: protobuf.Reader, length?: number, depth = 0, into?: object | null): object {
    if (depth > deepest) throw new Error("max depth exceeded");
    const outer = reader.len;
    const end = length === undefined ? outer : reader.pos + length;
    if (end > outer) throw new RangeError("index out of range");
    reader.len = end;
    const message = (into ?? new this.empty()) as Message;
    while (reader.pos < end) {
      const start = reader.pos;
      const tag = reader.tag();
      const field = this.byId[tag >>> 3];
      if (field === undefined || !this.read(reader, field, tag & 7, message, depth)) {
        reader.skipType(tag & 7, depth, tag >>> 3);
        this.keep(message, reader.raw(start, reader.pos));
      }
    }
    if (reader.pos !== end) throw new RangeError("index out of range");
    reader.len = outer;
    return message;
  }

  private keep(message: Message, bytes: Uint8Array): void {
    if (!Object.hasOwn(message, "$unknowns")) Object.defineProperty(message, "$unknowns", { value: [], enumerable: false, writable: true, configurable: true });
    message.$unknowns?.push(bytes);
  }

  /** False where the field has another form than it should. */
  private read(reader: protobuf.Reader, field: Field, wire: number, message: Message, depth: number): boolean {
    const { name, repeated, scalar } = field;
    const packed = repeated && wire === 2 && (scalar === "int64" || scalar === "float" || scalar === "int32");
    if (wire !== this.wire[field.id] && !packed) return false;
    if (repeated) {
      let list = message[name] as unknown[];
      if (list === emptyList || !list) {
        list = [];
        message[name] = list;
      }
      if (packed) reader[`${scalar}s`](list as number[]);
      else list.push(scalar === undefined ? this.typeOf(field).decode(reader, reader.size(), depth + 1) : scalarFrom(reader, scalar));
      return true;
    }
    if (scalar === undefined) {
      const before = Object.hasOwn(message, name) ? (message[name] as object | null) : null;
      message[name] = this.typeOf(field).decode(reader, reader.size(), depth + 1, before);
    } else message[name] = scalarFrom(reader, scalar);
    if (field.choice) for (const other of this.choices) if (other !== name && Object.hasOwn(message, other)) delete message[other];
    return true;
  }

  encode(source: object, writer: protobuf.Writer, depth = 0): protobuf.Writer {
    if (depth > deepest) throw new Error("max depth exceeded");
    const message = source as Message;
    for (const field of this.fields) {
      if (field.repeated) {
        for (const item of (message[field.name] ?? emptyList) as unknown[]) this.write(writer, field, item, depth);
      } else if (Object.hasOwn(message, field.name)) {
        const value = message[field.name];
        if (value !== undefined && value !== null) this.write(writer, field, value, depth);
      }
    }
    if (Object.hasOwn(message, "$unknowns")) for (const bytes of message.$unknowns ?? []) writer.raw(bytes);
    return writer;
  }

  private write(writer: protobuf.Writer, field: Field, value: unknown, depth: number): void {
    writer.uint32((field.id << 3) | (this.wire[field.id] as number));
    switch (field.scalar) {
      case undefined:
        this.typeOf(field)
          .encode(value as object, writer.fork(), depth + 1)
          .ldelim();
        break;
      case "string":
        writer.string(value as string);
        break;
      case "int64":
        writer.int64(value as number);
        break;
      case "int32":
        writer.int32(value as number);
        break;
      case "bytes":
        writer.bytes(value as Uint8Array);
        break;
      case "float":
        writer.float(value as number);
        break;
    }
  }
}
