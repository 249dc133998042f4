/** What graphs/ holds, as functions of the code: the script that writes it and the test that compares share this list. */

import { configSchema, emitSchema } from "../src/cli/config-schema.ts";
import { type EmitKind, type EmitOptions, emitModel } from "../src/cli/emit-file.ts";
import { modelText } from "../src/ir/text.ts";
import { encodeModel } from "../src/proto/encode.ts";

const graphs: Readonly<Record<string, readonly [EmitKind, EmitOptions]>> = {
  "ohem-ce": ["ohem-ce", {}],
  "lovasz-softmax": ["lovasz-softmax", {}],
  "lovasz-histogram": ["lovasz-softmax", { loss: { lovasz: { method: "histogram" } } }],
  "ohem-lovasz": ["ohem-lovasz", {}],
  "ohem-lovasz-upsampled": ["ohem-lovasz", { logitsShape: ["N", "C", "h", "w"], labelSize: ["H", "W"], loss: { lovasz: { method: "histogram" } } }],
  "ohem-lovasz-binary": ["ohem-lovasz", { logitsShape: ["N", 1, "H", "W"] }],
  sgd: ["sgd", {}],
  adamw: ["adamw", {}],
};

/** Name and bytes of every file but the README. */
export function graphFiles(): readonly (readonly [name: string, bytes: Uint8Array])[] {
  const text = (value: string) => new TextEncoder().encode(value);
  const models = Object.entries(graphs).flatMap(([name, [kind, options]]) => {
    const model = emitModel(kind, options);
    return [[`${name}.onnx`, encodeModel(model)] as const, [`${name}.txt`, text(modelText(model))] as const];
  });
  const schemas = [configSchema, emitSchema].map(
    (schema, i) => [["attach.schema.json", "emit.schema.json"][i] as string, text(`${JSON.stringify(schema, null, 2)}\n`)] as const,
  );
  return [...models, ...schemas];
}
