/** Runs a gradient check on ONNX Runtime: random picture, random weights of the logits, differences along and across the gradient. */

import { type CheckedTensor, type CheckModels, checkModels } from "../attach/check-models.ts";
import { type Bounds, bounds, type DirectionalResult, judged, kindest, positions, together, type Verdict } from "../attach/directional.ts";
import type { AttachOptions } from "../attach/options.ts";
import { elementCount } from "../ir/dims.ts";
import type { Model } from "../ir/graph.ts";
import { tensorNumbers } from "../ir/tensor.ts";
import { encodeModel } from "../proto/encode.ts";
import { OhemgenError } from "../support/errors.ts";
import { type Random, randomStream } from "../support/random.ts";
import type { RuntimeTensor, Session } from "../train/runtime.ts";
import { openSession, runtimeTensor } from "../train/session.ts";

export interface CheckOptions {
  readonly seed: number;
  /** Every tensor a group of its own. */
  readonly each: boolean;
  readonly progress: (done: number, all: number, group: string) => void;
}

export interface GroupResult {
  readonly group: string;
  readonly tensors: number;
  /** Points tried. */
  readonly attempts: number;
  readonly verdict: Verdict;
  /** In the direction of the gradient. */
  readonly along: DirectionalResult;
  /** In a random direction. */
  readonly across: DirectionalResult;
}

export interface CheckReport {
  readonly verdict: Verdict;
  readonly logits: string;
  readonly inputs: readonly { readonly name: string; readonly dims: readonly number[] }[];
  readonly groups: readonly GroupResult[];
}

/** Kinks lie elsewhere at another point: so many points are tried before a gradient is called wrong. */
const mostAttempts = 3;

type Feeds = Map<string, RuntimeTensor>;

interface Point {
  readonly feeds: Feeds;
  /** Weights of the logits in the function Σ seedᵢ·logitsᵢ. */
  readonly seed: Float32Array;
  readonly gradients: ReadonlyMap<string, ArrayLike<number>>;
  /** What rounding the logits to float32 does to the function. */
  readonly rounding: number;
}

/** Mean 0, variance 1. */
const centered = (random: Random): number => Math.sqrt(3) * (2 * random.next() - 1);

const floatsOf = (tensor: RuntimeTensor | undefined): ArrayLike<number> => (tensor?.data ?? []) as ArrayLike<number>;

async function randomPoint(models: CheckModels, forward: Session, backward: Session, random: Random): Promise<Point> {
  const feeds: Feeds = new Map();
  for (const { name, dtype, dims } of models.inputs) {
    const count = elementCount(dims);
    if (dtype === "float32")
      feeds.set(
        name,
        await runtimeTensor(
          Float32Array.from({ length: count }, () => centered(random)),
          dims,
        ),
      );
    else if (dtype === "int64") feeds.set(name, await runtimeTensor(new BigInt64Array(count), dims));
    else if (dtype === "int32") feeds.set(name, await runtimeTensor(new Int32Array(count), dims));
    else if (dtype === "uint8")
      feeds.set(
        name,
        await runtimeTensor(
          Uint8Array.from({ length: count }, () => 255 * random.next()),
          dims,
        ),
      );
    else
      throw new OhemgenError(`the input ${name} is ${dtype}, which a check cannot feed`, {
        code: "E241",
        where: name,
        hint: "Check a float32 version of the model.",
      });
  }
  for (const { name, tensor } of models.trained) feeds.set(name, await runtimeTensor(Float32Array.from(tensorNumbers(tensor)), tensor.dims));
  const logits = (await forward.run(feeds)).get(models.of) as RuntimeTensor;
  const seed = Float32Array.from(floatsOf(logits), () => centered(random));
  const outputs = await backward.run(new Map([...feeds, [`${models.of}.grad`, await runtimeTensor(seed, [...logits.dims])]]));
  const gradients = new Map(models.trained.map(({ name }) => [name, floatsOf(outputs.get(`${name}.grad`))]));
  const values = floatsOf(logits);
  const rounding = 2 ** -23 * Math.sqrt(seed.reduce((sum, weight, i) => sum + (weight * (values[i] as number)) ** 2, 0));
  return { feeds, seed, gradients, rounding };
}

function normOf(numbers: ArrayLike<number>): number {
  let squares = 0;
  for (let i = 0; i < numbers.length; i++) squares += (numbers[i] as number) ** 2;
  return Math.sqrt(squares);
}

type Direction = (tensor: CheckedTensor, gradient: ArrayLike<number>) => ArrayLike<number>;

/** `direction` at the length of the weights, tensor by tensor; where they are 0, a hundredth per element. */
function scaled({ tensor }: CheckedTensor, direction: ArrayLike<number>): Float64Array {
  const numbers = tensorNumbers(tensor);
  const length = normOf(numbers) || 0.01 * Math.sqrt(numbers.length);
  const own = normOf(direction);
  return Float64Array.from(direction, (value) => (own === 0 ? 0 : (value * length) / own));
}

async function directional(
  models: CheckModels,
  group: readonly CheckedTensor[],
  point: Point,
  forward: Session,
  { direction, limits }: { readonly direction: Direction; readonly limits: Bounds },
): Promise<DirectionalResult> {
  const directions = new Map(group.map((tensor) => [tensor.name, scaled(tensor, direction(tensor, point.gradients.get(tensor.name) ?? []))]));
  let [sum, squares] = [0, 0];
  for (const [name, moves] of directions) {
    const gradient = point.gradients.get(name) ?? [];
    for (let i = 0; i < moves.length; i++) {
      const product = (gradient[i] as number) * (moves[i] as number);
      sum += product;
      squares += product * product;
    }
  }
  const values = new Map<number, number>();
  for (const position of positions(limits)) {
    const feeds = new Map(point.feeds);
    for (const [name, moves] of directions) {
      const start = point.feeds.get(name) as RuntimeTensor;
      const moved = Float32Array.from(floatsOf(start), (value, i) => value + position * (moves[i] as number));
      feeds.set(name, await runtimeTensor(moved, [...start.dims]));
    }
    values.set(position, weighted(floatsOf((await forward.run(feeds)).get(models.of)), point.seed));
  }
  return judged((position) => values.get(position) as number, { sum, squares, rounding: point.rounding }, limits);
}

function weighted(logits: ArrayLike<number>, seed: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < seed.length; i++) sum += (logits[i] as number) * (seed[i] as number);
  return sum;
}

function groupsOf(trained: readonly CheckedTensor[], each: boolean): ReadonlyMap<string, readonly CheckedTensor[]> {
  const groups = new Map<string, CheckedTensor[]>();
  for (const tensor of trained) {
    const key = each ? tensor.name : tensor.role;
    groups.set(key, [...(groups.get(key) ?? []), tensor]);
  }
  return groups;
}

/** @throws OhemgenError where the model cannot be trained, or the runtime is missing */
export async function checkGradients(model: Model, attach: AttachOptions, options: CheckOptions): Promise<CheckReport> {
  const models = checkModels(model, attach);
  const forward = await openSession(encodeModel(models.forward));
  const backward = await openSession(encodeModel(models.backward));
  try {
    const random = randomStream(options.seed);
    const groups = groupsOf(models.trained, options.each);
    const ways = {
      along: { direction: (_: CheckedTensor, gradient: ArrayLike<number>) => gradient, limits: bounds.along },
      across: { direction: (_: CheckedTensor, gradient: ArrayLike<number>) => Float64Array.from(gradient, () => centered(random)), limits: bounds.across },
    };
    const points = [await randomPoint(models, forward, backward, random)];
    const results: GroupResult[] = [];
    for (const [group, tensors] of groups) {
      options.progress(results.length, groups.size, group);
      const tried = async (way: keyof typeof ways): Promise<{ result: DirectionalResult; attempts: number }> => {
        const attempts: DirectionalResult[] = [];
        while (attempts.length < mostAttempts && attempts.at(-1)?.verdict !== "right") {
          points[attempts.length] ??= await randomPoint(models, forward, backward, random);
          attempts.push(await directional(models, tensors, points[attempts.length] as Point, forward, ways[way]));
        }
        return { result: kindest(attempts), attempts: attempts.length };
      };
      const [along, across] = [await tried("along"), await tried("across")];
      const verdict = together([along.result.verdict, across.result.verdict]);
      results.push({
        group,
        tensors: tensors.length,
        attempts: Math.max(along.attempts, across.attempts),
        verdict,
        along: along.result,
        across: across.result,
      });
    }
    return { verdict: together(results.map(({ verdict }) => verdict)), logits: models.of, inputs: models.inputs, groups: results };
  } finally {
    await Promise.all([forward.close(), backward.close()]);
  }
}
