/**
 * The gradient check: ⟨gradient, direction⟩ against a finite difference of ⟨seed, y⟩ along the direction, for each
 * differentiated input on its own. The forward values come from the node as the file has it, run by the runtime.
 */

import { expect } from "vitest";
import { differentiate } from "../../src/autodiff/engine.ts";
import { isFloat } from "../../src/ir/dtype.ts";
import type { Model, Value } from "../../src/ir/graph.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import type { Provider } from "../../src/ops/provider.ts";
import { inline } from "../../src/passes/inline.ts";
import { normalize } from "../../src/passes/normalize.ts";
import { buildCase, type Case, caseName, type Form } from "./case.ts";
import { drawn, randomFrom } from "./operands.ts";
import { openModel, type Ran } from "./runtime.ts";

/**
 * The step: the error of the 4-point formula is h⁴/30 · the fifth derivative, 2e-9 times it; the rounding of y to
 * float32 comes in as 2⁻²⁴·‖y‖/h.
 */
const step = 1 / 64;

/**
 * Rounding of y, grown by the sums inside an operator, and 1e-3 of what the scalar product typically is: both the
 * gradient (float32) and the difference (fifth derivatives of order 10³) stay well below, a wrong element does not.
 */
function tolerance(gradientNorm: number, outputNorm: number): number {
  return 1e-3 * gradientNorm + (16 * 2 ** -24 * (1 + outputNorm)) / step;
}

interface Differentiated {
  readonly forward: Model;
  readonly backward: Model;
  readonly types: readonly Value[];
}

/** An Identity of its own, which gives the value its name as an output: inputs and constants may be outputs too. */
function output(op: OpBuilder, value: Value, name: string): { name: string; value: Value } {
  const identity = { op: "Identity", domain: "", name, inputs: [value], attributes: {} };
  const [copy] = op.draft.append(identity, [{ dtype: value.dtype, shape: value.shape }], () => name).outputs;
  return { name, value: copy as Value };
}

function modelOf(op: OpBuilder, inputs: readonly Value[], outputs: readonly { name: string; value: Value }[]): Model {
  return {
    irVersion: 8,
    opsets: new Map([["", 18]]),
    producer: { name: "test", version: "" },
    functions: [],
    graph: { name: "gradient", inputs, initializers: [], outputs, nodes: op.draft.nodes },
  };
}

export function differentiateModel(model: Model, wantedNames: ReadonlySet<string>, provider: Provider): Differentiated {
  const normalized = normalize(model);
  const forwardOf = (): { op: OpBuilder; targets: Value[] } => {
    const op = new OpBuilder(provider);
    const values = inline(op, normalized.nodes, new Map(normalized.inputs.map((value) => [value, value])));
    const targets = [...normalized.targets.values()].map((value) => values.get(value) ?? value);
    return { op, targets };
  };
  const forward = forwardOf();
  const backward = forwardOf();
  const { op, targets } = backward;
  const seeds = new Map<Value, Value>();
  targets.forEach((value, i) => {
    if (isFloat(value.dtype)) seeds.set(value, { name: `seed${i}`, dtype: value.dtype, shape: value.shape });
  });
  const wanted = normalized.inputs.filter((value) => wantedNames.has(value.name));
  const gradients = differentiate(op, op.draft.nodes.slice(), seeds, wanted);
  const outputs = wanted.flatMap((value) => {
    const gradient = gradients.get(value);
    return gradient === undefined ? [] : [output(op, gradient, `gradient:${value.name}`)];
  });
  return {
    forward: modelOf(
      forward.op,
      normalized.inputs,
      forward.targets.map((value, i) => output(forward.op, value, `output${i}`)),
    ),
    backward: modelOf(op, [...normalized.inputs, ...seeds.values()], outputs),
    types: targets,
  };
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
};

const norm = (a: ArrayLike<number>) => Math.sqrt(dot(a, a));

function seedOf(text: string): number {
  let hash = 2166136261;
  for (const character of text) hash = Math.imul(hash ^ (character.codePointAt(0) as number), 16777619);
  return hash >>> 0;
}

const moved = (tensor: Tensor, direction: ArrayLike<number>, by: number): Tensor =>
  tensorOf(
    tensor.dtype,
    tensor.dims,
    Float32Array.from(tensorNumbers(tensor), (value, i) => value + by * (direction[i] as number)),
  );

export async function checkCase(given: Case, form: Form, provider: Provider): Promise<void> {
  const random = randomFrom(seedOf(caseName(given)));
  const tensors = given.inputs.map((operand) => (operand === undefined ? undefined : drawn(operand, random)));
  const wanted = given.inputs.flatMap((operand, i) => (operand?.role === "variable" || operand?.role === "parameter" ? [`input${i}`] : []));
  const { model } = buildCase(given, tensors, form);
  const made = differentiateModel(model, new Set(wanted), provider);
  const original =
    given.viaNormalized === undefined
      ? buildCase(
          given,
          tensors,
          "static",
          made.types.map((value) => value.dtype),
        ).model
      : made.forward;
  const [reference, forward, backward] = await Promise.all([openModel(original), openModel(made.forward), openModel(made.backward)]);
  try {
    const feeds = new Map<string, Tensor>(tensors.flatMap((tensor, i) => (tensor === undefined ? [] : [[`input${i}`, tensor] as const])));
    const y = await reference.run(feeds);
    checkForward(y, await forward.run(feeds));
    const seeds = new Map<string, Tensor>();
    for (const [i, value] of made.types.entries()) {
      if (!isFloat(value.dtype)) continue;
      const { dims, data } = y.get(`output${i}`) as Ran;
      seeds.set(
        `seed${i}`,
        tensorOf(
          "float32",
          dims,
          Float32Array.from(data, () => 2 * random() - 1),
        ),
      );
    }
    const seeded = async (replaced: ReadonlyMap<string, Tensor>): Promise<number> => {
      const outputs = await reference.run(new Map([...feeds, ...replaced]));
      let sum = 0;
      for (const [name, seed] of seeds) sum += dot(tensorNumbers(seed), (outputs.get(name.replace("seed", "output")) as Ran).data);
      return sum;
    };
    const gradients = await backward.run(new Map([...feeds, ...seeds]));
    const outputNorm = Math.sqrt([...seeds.keys()].reduce((sum, name) => sum + norm((y.get(name.replace("seed", "output")) as Ran).data) ** 2, 0));
    for (const name of wanted) {
      const tensor = feeds.get(name) as Tensor;
      const gradient = gradients.get(`gradient:${name}`) as Ran;
      expect(gradient, `a gradient of ${name}`).toBeDefined();
      expect(gradient.dims, `shape of the gradient of ${name}`).toEqual([...tensor.dims]);
      const direction = Float64Array.from(gradient.data, () => 2 * random() - 1);
      const at = (factor: number) => seeded(new Map([[name, moved(tensor, direction, factor * step)]]));
      const [up, down, farUp, farDown] = [await at(1), await at(-1), await at(2), await at(-2)];
      const numeric = (8 * (up - down) - (farUp - farDown)) / (12 * step);
      const analytic = dot(gradient.data, direction);
      const allowed = tolerance(norm(gradient.data), outputNorm);
      expect(Math.abs(analytic - numeric), `⟨gradient of ${name}, direction⟩ is ${analytic}, the difference ${numeric}`).toBeLessThanOrEqual(allowed);
    }
  } finally {
    await Promise.all([reference.close(), forward.close(), backward.close()]);
  }
}

/** The normalized model computes what the file says: the same kernels or a rewriting, up to float32 rounding. */
export function checkForward(expected: ReadonlyMap<string, Ran>, found: ReadonlyMap<string, Ran>): void {
  for (const [name, { dims, data }] of expected) {
    const other = found.get(name) as Ran;
    expect(other.dims, `shape of ${name}`).toEqual(dims);
    const scale = 1 + norm(data) / Math.sqrt(Math.max(1, data.length));
    let worst = 0;
    for (let i = 0; i < data.length; i++) {
      const difference = Math.abs((data[i] as number) - (other.data[i] as number));
      if (!(difference <= worst)) worst = difference;
    }
    expect(worst, `largest difference in ${name} after normalization`).toBeLessThanOrEqual(2e-5 * scale);
  }
}
