/**
 * The loss of one head: OHEM cross-entropy plus Lovász, with the gradient at the logits in closed form. Every output
 * is finite for finite logits, and every value in the graph is read by something.
 */

import type { Value } from "../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../ops/builder.ts";
import { OhemgenError } from "../support/errors.ts";
import { binaryCrossEntropy, binaryLovasz } from "./binary.ts";
import { type CrossEntropyTerm, crossEntropy } from "./cross-entropy.ts";
import { allWithin, gradientTermLimit, logitsFinite } from "./finite.ts";
import { type Labels, readLabels } from "./labels.ts";
import { lovaszSoftmax, scaleOfMethod } from "./lovasz.ts";
import { checkForChannels, type ResolvedLossOptions } from "./options.ts";
import { withOwnClass } from "./own-class.ts";
import { reshapeTo } from "./pixels.ts";
import { limitValue } from "./ranking.ts";
import { probabilities, softmax } from "./softmax.ts";
import { gradientAtLogits, type LogitGradient } from "./softmax-gradient.ts";
import { upsamplingOf } from "./upsample.ts";

export interface LossOutputs {
  /** float32 scalars; `ce` and `lovasz` are before their weights, and 0 where the weight is 0. */
  readonly loss: Value;
  readonly ce: Value;
  readonly lovasz: Value;
  /** int64 scalars over the batch; `kept` is 0 where the cross-entropy has weight 0. */
  readonly valid: Value;
  readonly kept: Value;
  readonly invalidLabels: Value;
  /** float32 scalar, or [N] with a budget per image: τ on the scale of what is ranked. */
  readonly threshold: Value;
  /** bool scalar: every logit, the loss and (where asked for) the gradient. */
  readonly finite: Value;
  /** ∂loss/∂logits times `scale`, [N,C,h,w], where asked for. */
  readonly gradient: Value | undefined;
  /** What `gradient` is multiplied by. */
  readonly scale: number;
}

export interface LossRequest {
  readonly gradient: boolean;
  /** Factor of the gradient alone: the head's weight in the total. Default 1. */
  readonly scale?: number;
}

/** The terms of a head at label size. */
interface Terms {
  readonly ce: CrossEntropyTerm | undefined;
  readonly lovasz: { readonly value: Value } | undefined;
  readonly gradient: LogitGradient | undefined;
  /** bool scalars that must all hold */
  readonly finite: readonly Value[];
}

/**
 * Appends the loss to the graph of `op`.
 * @param logits float32 [N,C,h,w], at label size or another; sizes may be symbolic
 * @param labels uint8, int32 or int64 [N,H,W]
 * @throws OhemgenError E010 for options that do not fit the number of channels, E011 for logits of another kind.
 */
export function ohemLovasz(op: OpBuilder, logits: Value, labels: Value, options: ResolvedLossOptions, request: LossRequest): LossOutputs {
  const channels = channelsOf(logits);
  checkForChannels(options, channels);
  const { scale = 1 } = request;
  const binary = channels === 1;
  const classes = binary ? op.scalar("int32", 2) : op.reshape(op.cast(op.dim(logits, 1), "int32"), []);
  const read = readLabels(op.scope("labels"), labels, classes, options.ignoreIndex);
  const upsampling = upsamplingOf(op.scope("upsample"), logits, read.grid, options.upsample);
  const large = upsampling.forward(op.scope("upsample"), logits);
  const flat = reshapeTo(op, large, [read.grid.images, channels ?? op.dim(logits, 1), read.grid.area]);
  const head = { logits: flat, labels: read, options, channels, scale: request.gradient ? scale : undefined, checkTerms: upsampling.identity };
  const terms = binary ? binaryTerms(op, head) : softmaxTerms(op, head);
  const gradient = terms.gradient && upsampling.transposed(op.scope("upsample"), completeGradient(op.scope("gradient"), terms.gradient, read, large));
  return finish(op, { terms, logits, gradient, labels: read, options, scale, upsampled: !upsampling.identity });
}

function channelsOf(logits: Value): number | undefined {
  if (logits.dtype !== "float32" || logits.shape?.length !== 4) {
    const details = { code: "E011" as const, where: logits.name, hint: "The loss takes float32 logits of the shape [N,C,h,w]." };
    throw new OhemgenError(`logits are ${logits.dtype} of rank ${logits.shape?.length ?? "?"}`, details);
  }
  const [, channels] = dimsOf(logits);
  return typeof channels === "number" ? channels : undefined;
}

interface Head {
  /** [N,C,H·W] */
  readonly logits: Value;
  readonly labels: Labels;
  readonly options: ResolvedLossOptions;
  readonly channels: number | undefined;
  /** Factor of the gradient; undefined: none is made. */
  readonly scale: number | undefined;
  /** The gradient is judged by its terms here, not at the logits. */
  readonly checkTerms: boolean;
}

function softmaxTerms(op: OpBuilder, { logits, labels, options, channels, scale, checkTerms }: Head): Terms {
  const { ce, lovasz } = options;
  const head = softmax(op.scope("softmax"), logits);
  const hard = ce.weight === 0 ? undefined : crossEntropy(op.scope("ce"), head, labels, ce, scale ?? 1);
  const factor = scale === undefined ? undefined : scale * lovasz.weight;
  const found = lovasz.weight === 0 ? undefined : probabilities(op.scope("softmax"), head, labels, lovasz.ignore === "none", scaleOfMethod(lovasz));
  const surrogate = found && lovaszSoftmax(op.scope("lovasz"), found, labels, channels, lovasz, factor);
  const finite = [logitsFinite(op.scope("finite"), logits)];
  if (scale === undefined) return { ce: hard?.term, lovasz: surrogate, gradient: undefined, finite };
  const atProbabilities = found && surrogate?.gradient && { p: found, g: surrogate.gradient };
  const { gradient, parts } = gradientAtLogits(op.scope("gradient"), head, labels, hard?.gradient, atProbabilities);
  if (checkTerms) finite.push(...parts.map((part) => allWithin(op.scope("finite"), part, gradientTermLimit)));
  return { ce: hard?.term, lovasz: surrogate, gradient, finite };
}

/** In the shape of the logits at label size. */
function completeGradient(op: OpBuilder, { others, own }: LogitGradient, labels: Labels, like: Value): Value {
  return op.reshapeLike(own === undefined ? others : withOwnClass(op, others, labels, own), like);
}

function binaryTerms(op: OpBuilder, { logits, labels, options, scale, checkTerms }: Head): Terms {
  const { ce, lovasz } = options;
  const hard = ce.weight === 0 ? undefined : binaryCrossEntropy(op.scope("ce"), logits, labels, ce, scale ?? 1);
  const factor = scale === undefined ? undefined : scale * lovasz.weight;
  const surrogate = lovasz.weight === 0 ? undefined : binaryLovasz(op.scope("lovasz"), logits, labels, lovasz, factor);
  const finite = [allWithin(op.scope("finite"), logits)];
  if (scale === undefined) return { ce: hard?.term, lovasz: surrogate, gradient: undefined, finite };
  const parts = [hard?.gradient, surrogate?.gradient].filter((part) => part !== undefined);
  const base = parts.length === 0 ? op.mul(logits, 0) : op.sum(parts);
  if (checkTerms) finite.push(allWithin(op.scope("finite"), base));
  return { ce: hard?.term, lovasz: surrogate, gradient: { others: base, own: undefined }, finite };
}

interface Finished {
  readonly terms: Terms;
  readonly logits: Value;
  readonly gradient: Value | undefined;
  readonly labels: Labels;
  readonly options: ResolvedLossOptions;
  readonly scale: number;
  readonly upsampled: boolean;
}

function finish(op: OpBuilder, { terms, logits, gradient, labels, options, scale, upsampled }: Finished): LossOutputs {
  const zero = op.scalar("float32", 0);
  const ce = terms.ce?.value ?? zero;
  const lovasz = terms.lovasz?.value ?? zero;
  const loss = op.add(op.mul(ce, options.ce.weight), op.mul(lovasz, options.lovasz.weight));
  const check = op.scope("finite");
  const checks = [...terms.finite, allWithin(check, loss)];
  if (upsampled) checks.push(allWithin(check, logits));
  if (upsampled && gradient !== undefined) checks.push(allWithin(check, gradient));
  const scalar = (count: Value) => op.reshape(count, []);
  return {
    loss,
    ce,
    lovasz,
    valid: scalar(labels.validCount),
    kept: terms.ce === undefined ? op.scalar("int64", 0) : scalar(terms.ce.selection.count),
    invalidLabels: scalar(labels.invalidCount),
    threshold: terms.ce?.selection.threshold ?? limitValue(op, options.ce, labels),
    finite: checks.reduce((a, b) => check.and(a, b)),
    gradient,
    scale,
  };
}
