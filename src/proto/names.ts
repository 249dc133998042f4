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
function uniqueNames(): (hint: string) => string {
  /** Hints, with the number to try next where one is asked for again. */
  const taken = new Map<string, number>();
  /** What comes before the number in hints that look like made names. */
  const stems = new Set<string>();
  return (hint) => {
    const next = taken.get(hint);
    if (next === undefined) {
      const like = numbered(hint);
      if (like === undefined || (taken.get(like.stem) ?? 0) <= like.number) {
        if (like !== undefined) stems.add(like.stem);
        taken.set(hint, 1);
        return hint;
      }
    }
    let number = next ?? 1;
    if (stems.has(hint)) while (taken.has(`${hint}_${number}`)) number += 1;
    taken.set(hint, number + 1);
    return `${hint}_${number}`;
  };
}

/** `x_3` in its parts; `undefined` where no name is made like that: `x_03`. */
function numbered(name: string): { readonly stem: string; readonly number: number } | undefined {
  const last = name.charCodeAt(name.length - 1);
  if (!(last >= 48 && last <= 57)) return undefined;
  const [, stem, digits] = /^(.*)_([1-9]\d{0,8})$/s.exec(name) ?? [];
  return stem === undefined ? undefined : { stem, number: Number(digits) };
}

export class Names {
  readonly uniqueNode: (hint: string) => string = uniqueNames();
  /** Initializers of the main graph in the order of first use; functions have none. */
  readonly initializers: Value[] | undefined;
  private readonly unique = uniqueNames();
  /** Names of what a node may read: inputs, constants and what the nodes so far make. */
  private readonly defined = new Map<Value, string>();
  /** Outputs whose node has not come yet. */
  private readonly promised = new Map<Value, string>();

  constructor(initializers: Value[] | undefined) {
    this.initializers = initializers;
  }

  /** Takes the name of an input as it is. */
  input(value: Value): void {
    this.defined.set(value, this.exactly(value.name));
  }

  /** Keeps a name for the output that a node will make. */
  output(value: Value, name: string): void {
    if (this.defined.has(value) || this.promised.has(value)) bug(`output "${name}" is also an input or another output: an Identity is missing`);
    this.promised.set(value, this.exactly(name));
  }

  private exactly(name: string): string {
    assert(name !== "" && this.unique(name) === name, `two inputs or outputs are called "${name}"`);
    return name;
  }

  /** The name of a value that is defined. */
  of(value: Value): string | undefined {
    return this.defined.get(value);
  }

  /** Defines a value by other means than a node: the input of a subgraph. */
  define(value: Value, hint: string): string {
    const name = this.promised.get(value) ?? this.unique(value.name === "" ? hint : value.name);
    this.defined.set(value, name);
    return name;
  }

  read(value: Value, node: Node): string {
    const known = this.defined.get(value);
    if (known !== undefined) return known;
    if (value.constant === undefined) bug(`node "${node.name}" (${node.op}) reads "${value.name}" before it is made`);
    if (this.initializers === undefined) bug(`the constant "${value.name}" inside a function`);
    this.initializers.push(value);
    return this.define(value, "constant");
  }

  write(value: Value, node: Node): string {
    if (this.defined.has(value)) bug(`node "${node.name}" (${node.op}) makes "${value.name}" a second time`);
    return this.define(value, node.name === "" ? node.op : node.name);
  }
}
