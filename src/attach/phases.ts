/** The model after each phase, for whoever watches (`--dump`): each one whole, as a graph that could be written. */

import type { Model } from "../ir/graph.ts";
import { OpBuilder } from "../ops/builder.ts";
import { finishModel } from "../ops/finish.ts";
import { inline } from "../passes/inline.ts";
import type { Normalized } from "../passes/normalize.ts";

/** Called when a phase is done; the model is put together only where it is asked for. */
export type PhaseObserver = (phase: string, model: () => Model) => void;

/** The nodes that normalization leaves, with the tensors kept as inputs and the targets as outputs. */
export function normalizedModel({ inputs, kept, targets, nodes }: Normalized): Model {
  const op = new OpBuilder();
  const values = inline(op, nodes, new Map());
  const all = [...inputs, ...kept.values()];
  const names = new Set(all.map(({ name }) => name));
  const outputs = [...targets].map(([source, value]) => ({
    name: names.has(source.name) ? `${source.name}.output` : source.name,
    value: values.get(value) ?? value,
  }));
  return finishModel(op, "normalized", all, outputs);
}
