/**
 * The names that values and nodes get in one file: inputs and outputs keep theirs exactly, everything else gets a unique
 * one near its hint. The same walk over the same graph gives the same names.
 */

import type { Node, Value } from "../ir/graph.ts";
import { assert, bug } from "../support/errors.ts";

/**
 * Gives each hint once, then with `_1`, `_2`, … Made names are not kept: that the counter of `x` is past 3 says that `x_3` is
 * taken, so that a hint asked for a hundred thousand times costs no string to hash.
 */
class UniqueNames {
  /** Hints, with the number to try next where one is asked for again. */
  private readonly taken = new Map<string, number>();
  /** What comes before the number in hints that look like made names. */
  private readonly stems = new Set<string>();
  private readonly before: UniqueNames | undefined;

  constructor(before: UniqueNames | undefined) {
    this.before = before;
  }

  private next(hint: string): number | undefined {
    return this.taken.get(hint) ?? this.before?.next(hint);
  }

  private isStem(hint: string): boolean {
    return this.stems.has(hint) || (this.before?.isStem(hint) ?? false);
  }

  give(hint: string): string {
    const next = this.next(hint);
    if (next === undefined) {
      const like = numbered(hint);
      if (like === undefined || (this.next(like.stem) ?? 0) <= like.number) {
        if (like !== undefined) this.stems.add(like.stem);
        this.taken.set(hint, 1);
        return hint;
      }
    }
    let number = next ?? 1;
    if (this.isStem(hint)) while (this.next(`${hint}_${number}`) !== undefined) number += 1;
    this.taken.set(hint, number + 1);
    return `${hint}_${number}`;
  }
}

/** `x_3` in its parts; `undefined` where no name is made like that: `x_03`. */
function numbered(name: string): { readonly stem: string; readonly number: number } | undefined {
  const last = name.charCodeAt(name.length - 1);
  if (!(last >= 48 && last <= 57)) return undefined;
  const [, stem, digits] = /^(.*)_([1-9]\d{0,8})$/s.exec(name) ?? [];
  return stem === undefined ? undefined : { stem, number: Number(digits) };
}

export class Names {
  /** Initializers of the main graph in the order of first use; functions have none. */
  readonly initializers: Value[] | undefined;
  /** Of what was encoded before, which is not changed. */
  private readonly before: Names | undefined;
  private readonly nodes: UniqueNames;
  private readonly values: UniqueNames;
  /** Names that only inputs and outputs get, whether they are in this graph or in another that begins like it. */
  private readonly reserved = new Set<string>();
  /** Names of inputs and outputs of this graph. */
  private readonly exact = new Set<string>();
  /** Names of what a node may read: inputs, constants and what the nodes so far make. */
  private readonly defined = new Map<Value, string>();
  /** Outputs whose node has not come yet. */
  private readonly promised = new Map<Value, string>();

  constructor(initializers: Value[] | undefined, before?: Names) {
    this.initializers = initializers;
    this.before = before;
    this.nodes = new UniqueNames(before?.nodes);
    this.values = new UniqueNames(before?.values);
  }

  uniqueNode(hint: string): string {
    return this.nodes.give(hint);
  }

  /** Takes the name of an input as it is. */
  input(value: Value): void {
    this.defined.set(value, this.exactly(value.name));
  }

  /** Keeps a name for the output that a node will make. */
  output(value: Value, name: string): void {
    if (this.of(value) !== undefined || this.promise(value) !== undefined) bug(`output "${name}" is also an input or another output: an Identity is missing`);
    this.promised.set(value, this.exactly(name));
  }

  private promise(value: Value): string | undefined {
    return this.promised.get(value) ?? this.before?.promise(value);
  }

  private exactly(name: string): string {
    assert(name !== "" && !this.isExact(name), `two inputs or outputs are called "${name}"`);
    this.exact.add(name);
    this.reserve(name);
    return name;
  }

  private isExact(name: string): boolean {
    return this.exact.has(name) || (this.before?.isExact(name) ?? false);
  }

  /** Gives a name to nothing but an input or output; before any node. */
  reserve(name: string): void {
    if (this.reserved.has(name) || this.before?.reserved.has(name)) return;
    this.reserved.add(name);
    this.values.give(name);
  }

  /** The name of a value that is defined. */
  of(value: Value): string | undefined {
    return this.defined.get(value) ?? this.before?.of(value);
  }

  /** Defines a value by other means than a node: the input of a subgraph. */
  define(value: Value, hint: string): string {
    const name = this.promise(value) ?? this.values.give(value.name === "" ? hint : value.name);
    this.defined.set(value, name);
    return name;
  }

  read(value: Value, node: Node): string {
    const known = this.of(value);
    if (known !== undefined) return known;
    if (value.constant === undefined) bug(`node "${node.name}" (${node.op}) reads "${value.name}" before it is made`);
    if (this.initializers === undefined) bug(`the constant "${value.name}" inside a function`);
    this.initializers.push(value);
    return this.define(value, "constant");
  }

  write(value: Value, node: Node): string {
    if (this.of(value) !== undefined) bug(`node "${node.name}" (${node.op}) makes "${value.name}" a second time`);
    return this.define(value, node.name === "" ? node.op : node.name);
  }
}
