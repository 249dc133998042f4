/** Attributes of nodes and functions, from their messages. Each name stands once; a kind that old files leave out is inferred. */

import type { Attribute, Attributes, Graph } from "../ir/graph.ts";
import { OhemgenError } from "../support/errors.ts";
import { type AttributeProto, attributeTypes, type GraphProto, hasField, integerValue } from "./messages.ts";
import { densify, type ExternalReader, tensorFromProto } from "./tensors.ts";

export interface AttributeReaders {
  readonly graph: (proto: GraphProto) => Graph;
  readonly external: ExternalReader | undefined;
}

const text = new TextDecoder();

/** @throws OhemgenError E102 for an attribute that is there twice or lacks its value. */
export function attributesFromProto(protos: readonly AttributeProto[], where: string, read: AttributeReaders): Attributes {
  const entries: [string, Attribute][] = protos.map((proto) => [proto.name, attributeFromProto(proto, where, read)]);
  // Not by assignment: a file may call an attribute "__proto__".
  const attributes = Object.fromEntries(entries);
  if (Object.keys(attributes).length !== protos.length) malformed(`${where} has an attribute twice`, where);
  return attributes;
}

function malformed(message: string, where: string): never {
  throw new OhemgenError(message, {
    code: "E102",
    where,
    hint: "The model is not valid ONNX; check it with onnx.checker.",
  });
}

function attributeFromProto(proto: AttributeProto, node: string, read: AttributeReaders): Attribute {
  if (proto.refAttrName !== "") return { type: "reference", value: proto.refAttrName };
  const where = `attribute "${proto.name}" of ${node}`;
  switch (hasField(proto, "type") ? proto.type : inferredType(proto)) {
    case attributeTypes.int:
      return { type: "int", value: integerValue(proto.i) };
    case attributeTypes.float:
      return { type: "float", value: proto.f };
    case attributeTypes.string:
      return { type: "string", value: text.decode(hasField(proto, "s") ? proto.s : new Uint8Array(0)) };
    case attributeTypes.ints:
      return { type: "ints", value: proto.ints.map(integerValue) };
    case attributeTypes.floats:
      return { type: "floats", value: [...proto.floats] };
    case attributeTypes.strings:
      return { type: "strings", value: proto.strings.map((bytes) => text.decode(bytes)) };
    case attributeTypes.tensor:
      if (!hasField(proto, "t")) return malformed(`${where} has no tensor`, node);
      return { type: "tensor", value: tensorFromProto(proto.t, where, read.external) };
    case attributeTypes.sparseTensor:
      if (!hasField(proto, "sparseTensor")) return malformed(`${where} has no tensor`, node);
      return { type: "tensor", value: densify(proto.sparseTensor, where, read.external) };
    case attributeTypes.graph:
      if (!hasField(proto, "g")) return malformed(`${where} has no graph`, node);
      return { type: "graph", value: read.graph(proto.g) };
    default:
      return { type: "other", value: proto };
  }
}

/** IR versions before 3 leave the type out. */
function inferredType(proto: AttributeProto): number {
  if (hasField(proto, "f")) return attributeTypes.float;
  if (hasField(proto, "i")) return attributeTypes.int;
  if (hasField(proto, "s")) return attributeTypes.string;
  if (hasField(proto, "t")) return attributeTypes.tensor;
  if (hasField(proto, "g")) return attributeTypes.graph;
  if (proto.floats.length > 0) return attributeTypes.floats;
  if (proto.ints.length > 0) return attributeTypes.ints;
  if (proto.strings.length > 0) return attributeTypes.strings;
  return 0;
}
