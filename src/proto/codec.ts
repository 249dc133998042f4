/**
 * Bytes of an ONNX file ↔ its messages. Lossless: unknown fields are kept and what `decodeProto` read,
 * `encodeProto` writes again; tensor bytes are views into the input, never copied.
 */

import { OhemgenError } from "../support/errors.ts";
import type { MessageType } from "./message-type.ts";
import { hasField, type ModelProto } from "./messages.ts";
import { MessageReader } from "./reader.ts";
import { modelType } from "./schema.ts";
import { MessageWriter } from "./writer.ts";

/**
 * Reads an ONNX file.
 * @throws OhemgenError E101: empty, truncated, corrupt or no ONNX model.
 */
export function decodeProto(bytes: Uint8Array): ModelProto {
  if (bytes.length === 0) {
    throw new OhemgenError("the file is empty", { code: "E101", hint: "An ONNX model is expected." });
  }
  const foreign = foreignFormat(bytes);
  if (foreign !== undefined) throw new OhemgenError(`not an ONNX model: ${foreign[0]}`, { code: "E101", hint: foreign[1] });
  const proto = decodeMessage(modelType, bytes) as ModelProto;
  if (!hasField(proto, "graph") || (!hasField(proto, "irVersion") && proto.opsetImport.length === 0)) {
    const missing = hasField(proto, "graph") ? "neither an IR version nor an operator set" : "no graph";
    throw new OhemgenError(`not an ONNX model: the file has ${missing}`, {
      code: "E101",
      hint: "Check the path; an exported .onnx file is expected.",
    });
  }
  return proto;
}

/** Decodes one message. @throws OhemgenError E101 with the place where the bytes stop making sense. */
export function decodeMessage(type: MessageType, bytes: Uint8Array): object {
  const reader = new MessageReader(bytes);
  try {
    return type.decode(reader);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const at = Math.min(reader.pos, bytes.length);
    const truncated = error instanceof RangeError && /index out of range/.test(error.message);
    throw new OhemgenError(
      truncated
        ? `not a complete ONNX model: the data at byte ${at} runs past its end (the file has ${bytes.length} bytes)`
        : `not an ONNX model: ${error.message} (near byte ${at} of ${bytes.length})`,
      {
        code: "E101",
        where: `byte ${at}`,
        hint: truncated
          ? "The file is truncated or corrupt; copy or export it again."
          : "The file is corrupt or of another format; an exported .onnx file is expected.",
        cause: error,
      },
    );
  }
}

/** The bytes of a model. */
export function encodeProto(proto: ModelProto): Uint8Array {
  return joinChunks(encodeProtoChunks(proto));
}

/** The same in pieces, tensors not copied: for writing large models without holding them twice. */
export function encodeProtoChunks(proto: ModelProto): Uint8Array[] {
  const writer = new MessageWriter();
  modelType.encode(proto, writer);
  return writer.chunks();
}

export function joinChunks(chunks: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk, at);
    at += chunk.length;
  }
  return joined;
}

/** What a file of another kind is, and what to do about it; undefined where the first bytes say nothing. */
function foreignFormat(bytes: Uint8Array): [what: string, hint: string] | undefined {
  const start = String.fromCharCode(...bytes.subarray(0, 64));
  if (start.startsWith("version https://git-lfs")) {
    return ["a Git LFS pointer in its place", "Fetch the file itself with `git lfs pull`."];
  }
  if (start.startsWith("PK\x03\x04")) {
    return ["a zip archive (a PyTorch checkpoint?)", "Export the network with torch.onnx.export first."];
  }
  if (start.startsWith("\x89HDF")) return ["an HDF5 file", "Convert the network to ONNX first."];
  if (start.slice(4, 8) === "TFL3") return ["a TensorFlow Lite model", "Convert the network to ONNX first."];
  if (start.slice(4, 8) === "ORTM") return ["an ORT-format model", "Use the .onnx file that it was made from."];
  if (isText(bytes.subarray(0, 512))) return ["a text file", "Check the path; an exported .onnx file is expected."];
  return undefined;
}

/** A model begins with the tag of a field (0x08, 0x3a, …) and soon holds control characters; a text holds none. */
function isText(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte >= 0x20 || byte === 9 || byte === 10 || byte === 13);
}
