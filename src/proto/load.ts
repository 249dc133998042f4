/** Bytes of an ONNX file to a model, in one call. */

import type { Model } from "../ir/graph.ts";
import { decodeProto } from "./codec.ts";
import { type DecodeOptions, modelFromProto } from "./decode.ts";

/**
 * @param bytes a whole ONNX file; the tensors of the model are views into it
 * @throws OhemgenError where the bytes are no valid model, or external data is needed and no reader was given
 */
export function loadModel(bytes: Uint8Array, options: DecodeOptions = {}): Model {
  return modelFromProto(decodeProto(bytes), options);
}

export type { DecodeOptions };
