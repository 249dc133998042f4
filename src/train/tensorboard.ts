/**
 * The run's metrics as a TensorBoard event file: a TFRecord per event, with masked CRC-32C of length and data, and
 * `tensorflow.Event` messages of scalars. A run that is taken up again gets a further file, which begins with a
 * session start: TensorBoard then forgets what an earlier file holds from that step on.
 */

import crc32c from "crc-32/crc32c.js";
import protobuf from "protobufjs/light.js";
import type { JournalEvent } from "./journal.ts";

/** tensorflow/core/util/event.proto and framework/summary.proto, as far as scalars need them. */
const event = protobuf.Root.fromJSON({
  nested: {
    Event: {
      fields: {
        wallTime: { type: "double", id: 1 },
        step: { type: "int64", id: 2 },
        fileVersion: { type: "string", id: 3 },
        summary: { type: "Summary", id: 5 },
        sessionLog: { type: "SessionLog", id: 7 },
      },
    },
    Summary: { fields: { value: { rule: "repeated", type: "Value", id: 1 } } },
    Value: { fields: { tag: { type: "string", id: 1 }, simpleValue: { type: "float", id: 2 } } },
    SessionLog: { fields: { status: { type: "int32", id: 1 } } },
  },
}).lookupType("Event");

const sessionStart = 1;

/** Rotated and shifted, so that a checksum of data that holds checksums is no fixed point (as in LevelDB and TFRecord). */
function masked(bytes: Uint8Array): number {
  const crc = crc32c.buf(bytes) >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** length (8 bytes), its checksum, data, its checksum; all little-endian. */
export function record(data: Uint8Array): Uint8Array {
  const result = new Uint8Array(data.length + 16);
  const view = new DataView(result.buffer);
  view.setUint32(0, data.length, true);
  view.setUint32(8, masked(result.subarray(0, 8)), true);
  result.set(data, 12);
  view.setUint32(12 + data.length, masked(data), true);
  return result;
}

function encoded(seconds: number, content: object): Uint8Array {
  return record(event.encode(event.create({ wallTime: seconds, ...content })).finish());
}

/** Not finite numbers are not in the journal, so there is a gap where there was one. */
function scalars(seconds: number, step: number, values: Readonly<Record<string, number | null | undefined>>): Uint8Array {
  const value = Object.entries(values).flatMap(([tag, number]) => (typeof number === "number" ? [{ tag, simpleValue: number }] : []));
  return value.length === 0 ? new Uint8Array(0) : encoded(seconds, { step, summary: { value } });
}

/** How a file of events begins. */
export function eventFileHead(seconds: number): Uint8Array {
  return encoded(seconds, { fileVersion: "brain.Event:2" });
}

/**
 * The records of an event of the journal; none for its end.
 * @param seconds since 1970
 * @param names of the classes, for their IoU
 */
export function boardRecords(entry: JournalEvent, seconds: number, names: readonly string[]): Uint8Array {
  // What is forgotten begins with the step that is named.
  if (entry.event === "start") return encoded(seconds, { step: entry.step + 1, sessionLog: { status: sessionStart } });
  if (entry.event === "step") {
    const { step, loss, ce, lovasz, kept, lr, grad_norm, images_per_second } = entry;
    return scalars(seconds, step, {
      "train/loss": loss,
      "train/ce": ce,
      "train/lovasz": lovasz,
      "train/kept": kept,
      "train/grad_norm": grad_norm,
      "train/learning_rate": lr,
      "train/images_per_second": images_per_second,
    });
  }
  if (entry.event === "val") {
    const { step, loss, ce, lovasz, miou, pixel_accuracy, iou } = entry;
    const classes = Object.fromEntries(iou.map((value, i) => [`iou/${names[i] ?? i}`, value]));
    return scalars(seconds, step, { "val/loss": loss, "val/ce": ce, "val/lovasz": lovasz, "val/miou": miou, "val/pixel_accuracy": pixel_accuracy, ...classes });
  }
  return new Uint8Array(0);
}

/** TensorBoard finds files by the middle of this name and reads them in the order of the time in it. */
export function eventFileName(seconds: number, taken: (name: string) => boolean): string {
  for (let i = 0; ; i++) {
    const name = `events.out.tfevents.${Math.floor(seconds)}.ohemgen.${i}`;
    if (!taken(name)) return name;
  }
}
