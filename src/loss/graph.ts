/** Stand-alone loss graphs: logits and labels in, the loss outputs and the gradient at the logits out. */

import type { Dim } from "../ir/dims.ts";
import type { GraphOutput, Model } from "../ir/graph.ts";
import { OpBuilder } from "../ops/builder.ts";
import { finishModel } from "../ops/finish.ts";
import type { Provider } from "../ops/provider.ts";
import { usageError } from "../support/errors.ts";
import { type LossOutputs, ohemLovasz } from "./loss.ts";
import type { ResolvedLossOptions } from "./options.ts";

export type LossKind = "ohem-ce" | "lovasz-softmax" | "ohem-lovasz";

export interface LossModelRequest {
  /** [N,C,h,w]; a name is a size of the run. */
  readonly logitsShape: readonly Dim[];
  /** [H,W]; default: the logits' size. */
  readonly labelSize?: readonly [Dim, Dim];
  readonly labelType: "uint8" | "int32" | "int64";
  readonly options: ResolvedLossOptions;
  /** Which runtime provider the graph is made for; default: any. */
  readonly provider?: Provider;
}

/** What a kind leaves out of the options: the term it is not about. */
export function optionsOfKind(kind: LossKind, options: ResolvedLossOptions): ResolvedLossOptions {
  if (kind === "ohem-ce") return { ...options, lovasz: { ...options.lovasz, weight: 0 } };
  if (kind === "lovasz-softmax") return { ...options, ce: { ...options.ce, weight: 0 } };
  return options;
}

/** Outputs under their names in a file, `logits.grad` last. */
export function namedOutputs(loss: LossOutputs, prefix = ""): GraphOutput[] {
  const { ce, lovasz, valid, kept, invalidLabels, threshold, finite, gradient } = loss;
  const values = { loss: loss.loss, ce, lovasz, valid, kept, invalid_labels: invalidLabels, threshold, finite, "logits.grad": gradient };
  return Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [{ name: `${prefix}${name}`, value }]));
}

/**
 * A model of opset 18 in the standard domain alone.
 * @throws OhemgenError E010 for shapes or options that do not fit.
 */
export function lossModel(kind: LossKind, request: LossModelRequest): Model {
  const { logitsShape, labelType, options } = request;
  const [images, , height, width] = logitsShape;
  const bad = logitsShape.find((dim) => typeof dim === "number" && !(Number.isSafeInteger(dim) && dim > 0));
  if (logitsShape.length !== 4 || images === undefined || height === undefined || width === undefined || bad !== undefined) {
    throw usageError(`the logits have the shape [${logitsShape.join(",")}]`, "Give N,C,h,w: sizes from 1, or names for sizes of the run.", "E010");
  }
  const [labelHeight, labelWidth] = request.labelSize ?? [height, width];
  const op = new OpBuilder(request.provider);
  const logits = op.input("logits", "float32", logitsShape);
  const labels = op.input("labels", labelType, [images, labelHeight, labelWidth]);
  const loss = ohemLovasz(op.scope("loss"), logits, labels, optionsOfKind(kind, options), { gradient: true });
  return finishModel(op, kind, [logits, labels], namedOutputs(loss));
}
