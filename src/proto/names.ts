/**
 * The names that values and nodes get in one file: inputs and outputs keep theirs exactly, everything else gets a unique
 * one near its hint. The same walk over the same graph gives the same names.
 */

import type { Node, Value } from "../ir/graph.ts";
import { assert, bug } from "../support/errors.ts";

/** Gives each hint once, then with `_1`, `_2`, … */
function uniqueNames(): (hint: string) => string {
  /** What is taken, with the number to try next where it is asked for again. */
  const taken = new Map<string, number>();
  return (hint) => {
    const next = taken.get(hint);
    if (next === undefined) {
      taken.set(hint, 1);
      return hint;
    }
    for (let i = next; ; i++) {
      const name = `${hint}_${i}`;
      if (taken.has(name)) continue;
      taken.set(hint, i + 1);
      taken.set(name, 1);
      return name;
    }
  };
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
