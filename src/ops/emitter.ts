/**
 * How nodes come into a graph under construction, with names below a scope. Every node emitted has its output types
 * inferred, is folded if its inputs are constant, simplified if it does nothing and shared if it exists.
 */

import { isStatic, type Shape } from "../ir/dims.ts";
import { type DataType, isFloat } from "../ir/dtype.ts";
import type { Attributes, Node, Value } from "../ir/graph.ts";
import { reshapeTensor, type Tensor, tensorOf } from "../ir/tensor.ts";
import { assert, bug } from "../support/errors.ts";
import { widened } from "./broadcast.ts";
import { type catalog, type OpName, schemaOf } from "./catalog.ts";
import { Constants } from "./constants.ts";
import { type AttributeArguments, type OutputType, withDefaults } from "./define.ts";
import { Draft } from "./draft.ts";
import { evaluate } from "./fold.ts";
import type { Provider } from "./provider.ts";
import { simplify } from "./simplify.ts";

export interface EmitOptions {
  /** Number of outputs (default 1). */
  readonly outputs?: number;
  /** Names to prefer for node and outputs; the scope is not prepended. */
  readonly names?: { readonly node?: string; readonly outputs?: readonly string[] };
}

export class Emitter {
  /** Which runtime provider the lowerings are chosen for. */
  readonly provider: Provider;
  readonly draft: Draft;
  protected readonly prefix: string;
  protected readonly constants: Constants;
  private hints: Map<string, string> | undefined;

  constructor(provider: Provider = "any", draft = new Draft(), prefix = "", constants = new Constants()) {
    this.provider = provider;
    this.draft = draft;
    this.prefix = prefix;
    this.constants = constants;
  }

  /** A graph input. */
  input(name: string, dtype: DataType, shape: Shape): Value {
    return { name, dtype, shape };
  }

  constant(tensor: Tensor, name?: string): Value {
    return this.constants.tensor(tensor, name ?? `${this.prefix}constant`);
  }

  /** A constant that its key tells, made once for all that ask for it. */
  sharedConstant(key: string, make: () => Tensor, name: string): Value {
    return this.constants.shared(key, make, `${this.prefix}${name}`);
  }

  scalar(dtype: DataType, value: number): Value {
    return this.constants.scalar(dtype, value, this.prefix);
  }

  /** An int64 vector. */
  ints(values: readonly number[]): Value {
    return this.constants.ints(values, this.prefix);
  }

  /** Emits a node of any known operator; returns all its outputs. */
  emitAll<K extends OpName>(
    op: K,
    inputs: readonly (Value | undefined)[],
    attrs: AttributeArguments<(typeof catalog)[K]["attrs"]> = {},
    options: EmitOptions = {},
  ): readonly Value[] {
    if ((options.outputs ?? 1) === 1) return [this.emit(op, inputs, attrs, options)];
    const { attrs: specs, infer } = schemaOf(op);
    const count = options.outputs as number;
    const types = infer({ op, x: inputs, attrs: withDefaults(specs, attrs), outputs: count, fresh: this.draft.fresh }).slice(0, count);
    assert(types.length === count, `${op} has ${types.length} outputs, ${count} were asked for`);
    const { outputs } = this.append(op, "", inputs, this.draft.attributes(op, specs, attrs), types, options);
    return outputs.map((value) => value ?? bug("an output without a value"));
  }

  /** Emits a node of which only the first output is asked for. */
  emit<K extends OpName>(
    op: K,
    inputs: readonly (Value | undefined)[],
    attrs: AttributeArguments<(typeof catalog)[K]["attrs"]> = {},
    options: EmitOptions = {},
  ): Value {
    const { attrs: specs, infer } = schemaOf(op);
    const complete = withDefaults(specs, attrs);
    const [type] = infer({ op, x: inputs, attrs: complete, outputs: 1, fresh: this.draft.fresh });
    if (type === undefined) return bug(`${op} without an output`);
    const known = this.withoutNode(op, inputs, complete, type);
    if (known !== undefined) return known;
    const simpler = simplify(op, { x: inputs, attrs, type, producer: this.draft.producer });
    if (simpler !== undefined) return "value" in simpler ? simpler.value : this.emit(op, simpler.inputs, simpler.attrs as typeof attrs, options);
    return this.append(op, "", inputs, this.draft.attributes(op, specs, attrs), [type], options).outputs[0] ?? bug("an output without a value");
  }

  /** Emits a node whose types the caller knows: operators outside the catalog, subgraphs. */
  append(
    op: string,
    domain: string,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes,
    types: readonly (OutputType | undefined)[],
    options: EmitOptions = {},
  ): Node {
    const operands = domain === "" ? widened(op, inputs, (value, shape) => this.inShape(value, shape)) : inputs;
    let last = operands.length;
    while (last > 0 && operands[last - 1] === undefined) last -= 1;
    const trimmed = last === operands.length ? operands : operands.slice(0, last);
    const given = options.names;
    const name = given?.node ?? this.hint(op);
    const named = (i: number) => given?.outputs?.[i] ?? (i > 0 ? `${name}_output${i}` : name);
    return this.draft.emit({ op, domain, name, inputs: trimmed, attributes }, types, named);
  }

  private inShape(value: Value, shape: readonly number[]): Value {
    return value.constant === undefined ? this.emit("Reshape", [value, this.ints(shape)]) : this.constant(reshapeTensor(value.constant, shape));
  }

  /** The name of an operator below the scope, for nodes and what they make: one string for all, which is hashed once. */
  private hint(op: string): string {
    this.hints ??= new Map();
    const known = this.hints.get(op);
    if (known !== undefined) return known;
    const hint = `${this.prefix}${op}`;
    this.hints.set(op, hint);
    return hint;
  }

  /** A constant with the result, where the result is known now. */
  private withoutNode(op: string, inputs: readonly (Value | undefined)[], attrs: Readonly<Record<string, unknown>>, type: OutputType): Value | undefined {
    const { content, shape, dtype } = type;
    if (content?.every((dim) => typeof dim === "number") && isStatic(shape) && !isFloat(dtype)) {
      if (dtype === "int64" && shape.length === 1) return this.ints(content as readonly number[]);
      return this.constant(tensorOf(dtype, shape, content as readonly number[]));
    }
    const folded = evaluate(op, inputs, attrs, type);
    return folded === undefined ? undefined : this.constant(folded);
  }
}
