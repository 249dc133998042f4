/**
 * The optimizer of target `ort-training`: one node of the runtime on sequences of tensors. What that node cannot say is
 * put into the accumulated gradient where it can be, and refused where it cannot.
 */

import type { Attributes, Graph, Model, Value } from "../../ir/graph.ts";
import { tensorOf } from "../../ir/tensor.ts";
import { OpBuilder } from "../../ops/builder.ts";
import { finishModel, runtimeDomain } from "../../ops/finish.ts";
import type { ParameterGroup } from "../../optim/options.ts";
import { bug, OhemgenError } from "../../support/errors.ts";
import type { Plan } from "../plan.ts";

function refused(flag: string, reason: string, hint: string): OhemgenError {
  return new OhemgenError(`target ort-training has no ${flag}: ${reason}`, { code: "E250", where: flag, hint, exitCode: 2 });
}

/** @throws OhemgenError E250 for settings that the optimizers of that runtime do not have */
export function checkOptimizer({ optimizer, layout }: Pick<Plan, "optimizer" | "layout">): void {
  const { groups } = layout;
  if (optimizer.ema > 0) throw refused("--ema", "its optimizers keep no moving average", "Leave it out.");
  if (optimizer.kind === "sgd") {
    if (optimizer.nesterov) throw refused("--nesterov", "its SGD takes one direction from the gradient buffer", "Leave it out.");
    if (optimizer.clipNorm > 0 && (optimizer.momentum > 0 || groups.some((group) => group.weightDecay > 0 || group.learningRateFactor !== 1))) {
      const reason = "with SGD it would clip momentum, decay and factors too, which the buffer of the gradient holds";
      throw refused("--clip-norm", reason, "Use --momentum 0 without --weight-decay and --lr-mult, or --optimizer adamw.");
    }
    return;
  }
  if (groups.some((group) => group.learningRateFactor !== groups[0]?.learningRateFactor)) {
    throw refused("--lr-mult", "its AdamW has one learning rate for all tensors", "Give all of them one factor, or use --optimizer sgd.");
  }
  if (decayByRank(layout) === undefined) {
    const reason = "its AdamW can tell tensors apart by the number of their dimensions alone";
    throw refused("--decay-exclude", reason, "Leave it out, which decays all but tensors of one dimension, set --weight-decay 0, or use --optimizer sgd.");
  }
}

/** What is added to the buffer of a gradient, and whether it takes the buffer's place. */
export interface Accumulated {
  readonly value: Value;
  readonly overwrite: Value;
}

/**
 * The runtime's SGD is p − lr·b with b the buffer where gradients are summed until they are reset. With
 * b ← momentum·b + f·(g + λp) at the first gradient after a reset, and b + f·g at each further one, this is
 * torch.optim.SGD with momentum, coupled decay λ and the factor f on the learning rate.
 *
 * @param finite bool scalar: where it is false a buffer that holds momentum stays as it is
 * @param reset bool `[1]`
 */
export function accumulated(
  op: OpBuilder,
  { optimizer }: Pick<Plan, "optimizer">,
  group: ParameterGroup | undefined,
  { weight, buffer, gradient, finite, reset }: Readonly<Record<"weight" | "buffer" | "gradient" | "finite" | "reset", Value>>,
): Accumulated {
  if (optimizer.kind === "adamw") return { value: gradient, overwrite: reset };
  const { momentum } = optimizer;
  const { learningRateFactor: factor, weightDecay: decay } = group ?? { learningRateFactor: 1, weightDecay: 0 };
  const scaled = factor === 1 ? gradient : op.mul(gradient, factor);
  if (momentum === 0 && decay === 0) return { value: scaled, overwrite: reset };
  const kept = op.mul(buffer, momentum);
  const first = decay === 0 ? kept : op.add(kept, op.mul(weight, factor * decay));
  const next = op.add(op.where(op.reshape(reset, []), first, buffer), scaled);
  return { value: op.where(finite, next, buffer), overwrite: op.constant(tensorOf("bool", [1], [1])) };
}

function sequence(name: string): Value {
  return { name, dtype: "float32", shape: undefined, sequence: true };
}

/** `optimizer_model`: names and order of the inputs are those the runtime feeds by. */
export function optimizerModel({ optimizer, layout }: Pick<Plan, "optimizer" | "layout">): Model {
  const op = new OpBuilder();
  const rate = op.input("learning_rate", "float32", [1]);
  const step = op.input("step", "int64", [1]);
  const [params, gradients, first, second] = ["params", "gradients", "first_order_moments", "second_order_moments"].map(sequence) as [
    Value,
    Value,
    Value,
    Value,
  ];
  const maximum: Attributes = { max_norm: { type: "float", value: optimizer.clipNorm } };
  const clipped =
    optimizer.clipNorm > 0
      ? (op.append("InplaceClipGradNorm", runtimeDomain, [gradients], maximum, [{ dtype: "float32", shape: undefined }]).outputs[0] as Value)
      : gradients;
  if (optimizer.kind === "sgd") {
    const done = op.append("SGDOptimizerV2", runtimeDomain, [rate, params, clipped], {}, [{ dtype: "bool", shape: undefined }]);
    return finishModel(op, "optimizer_model", [rate, step, params, gradients, first], [{ name: "update_completed", value: done.outputs[0] as Value }]);
  }
  const factor = layout.groups[0]?.learningRateFactor ?? 1;
  const scaledRate = factor === 1 ? rate : op.mul(rate, factor);
  const uniform = layout.groups.every((group) => group.weightDecay === layout.groups[0]?.weightDecay);
  const decayed = uniform ? [] : [decayAlone(op, layout, scaledRate, params)];
  const attributes: Attributes = {
    alpha: { type: "float", value: optimizer.beta1 },
    beta: { type: "float", value: optimizer.beta2 },
    epsilon: { type: "float", value: optimizer.eps },
    weight_decay: { type: "float", value: uniform ? (layout.groups[0]?.weightDecay ?? 0) : 0 },
    correct_bias: { type: "int", value: 1 },
    // 0: as torch.optim.AdamW.
    adam_mode: { type: "int", value: 0 },
  };
  const done = op.append("AdamWOptimizer", runtimeDomain, [scaledRate, step, params, clipped, first, second, ...decayed], attributes, [
    { dtype: "bool", shape: [1] },
  ]);
  return finishModel(op, "optimizer_model", [rate, step, params, gradients, first, second], [{ name: "update_completed", value: done.outputs[0] as Value }]);
}

/** Decay by the number of a tensor's dimensions; undefined where that does not tell. */
function decayByRank({ tensors, groups }: Plan["layout"]): readonly number[] | undefined {
  const byRank: number[] = [];
  for (const { tensor, group } of tensors) {
    const decay = groups[group]?.weightDecay ?? 0;
    byRank[tensor.dims.length] ??= decay;
    if (byRank[tensor.dims.length] !== decay) return undefined;
  }
  return Array.from(byRank, (decay) => decay ?? 0);
}

/**
 * Decay that differs between tensors, which the node has no setting for: a step of plain SGD before it, whose gradient
 * is λp, each tensor with its own λ; p − lr·λp is torch's decoupled decay. The runtime takes one optimizer node on a
 * graph's first level, so this one lies in a branch; it puts the tensors in an order of its own, so λ goes by what can
 * be seen of a tensor.
 *
 * @returns what the node of the step proper waits for
 */
function decayAlone(op: OpBuilder, layout: Plan["layout"], rate: Value, params: Value): Value {
  const at = op.scope("decay");
  const decays = decayByRank(layout) ?? bug("decay that ranks do not tell");
  const byRank = at.constant(tensorOf("float32", [decays.length], decays));
  const parts = layout.tensors.map((_, i) => {
    const weight = at.append("SequenceAt", "", [params, at.scalar("int64", i)], {}, [{ dtype: "float32", shape: undefined }]).outputs[0] as Value;
    return at.mul(weight, at.gather(byRank, at.emit("Size", [at.emit("Shape", [weight])]), 0));
  });
  const decay = at.append("SequenceConstruct", "", parts, {}, [{ dtype: "float32", shape: undefined }]).outputs[0] as Value;
  const branch = (name: string, build: (inner: OpBuilder) => Value): Graph => {
    const inner = op.subgraph(name);
    const value = build(inner);
    return { name, inputs: [], outputs: [{ name: "done", value }], initializers: [], nodes: inner.draft.nodes };
  };
  const step = (inner: OpBuilder): Value => {
    const done = inner.append("SGDOptimizerV2", runtimeDomain, [rate, params, decay], {}, [{ dtype: "bool", shape: undefined }]).outputs[0] as Value;
    // It has one element, and the runtime holds it for a scalar.
    return inner.reshape(done, [1]);
  };
  const attributes: Attributes = {
    then_branch: { type: "graph", value: branch("decayed", step) },
    else_branch: { type: "graph", value: branch("as_it_is", (inner) => inner.constant(tensorOf("bool", [1], [1]))) },
  };
  return at.append("If", "", [at.reshape(at.greater(rate, 0), [])], attributes, [{ dtype: "bool", shape: [1] }]).outputs[0] as Value;
}
