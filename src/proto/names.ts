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
  /**
   * By hint, twice the number to try next where it is asked for again, 0 as long as it is not taken; and 1 more where it is
   * what comes before the number in a hint that looks like a made name.
   */
  private readonly hints = new Map<string, number>();
  private readonly before: UniqueNames | undefined;

  constructor(before: UniqueNames | undefined) {
    this.before = before;
  }

  private get(hint: string): number {
    return this.hints.get(hint) ?? this.before?.get(hint) ?? 0;
  }

  private next(hint: string): number {
    return this.get(hint) >> 1;
  }

  give(hint: string): string {
    const known = this.get(hint);
    let number = known >> 1;
    if (number === 0) {
      const like = numbered(hint);
      if (like === undefined || this.next(like.stem) <= like.number) {
        if (like !== undefined) this.hints.set(like.stem, this.get(like.stem) | 1);
        this.hints.set(hint, 2 | (known & 1));
        return hint;
      }
      number = 1;
    }
    if ((known & 1) === 1) while (this.next(`${hint}_${number}`) > 0) number += 1;
    this.hints.set(hint, (2 * (number + 1)) | (known & 1));
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

/** In the place of a value that has no name. */
const nameless: Value = { name: "", dtype: "undefined", shape: undefined };

/** Names of values: by their slot where they come from one draft, as nearly all do, else by the value. */
class NameTable {
  private readonly values: Value[] = [];
  private readonly names: string[] = [];
  private readonly others = new Map<Value, string>();

  get(value: Value): string | undefined {
    const { slot } = value;
    return slot !== undefined && this.values[slot] === value ? this.names[slot] : this.others.get(value);
  }

  set(value: Value, name: string): void {
    const { slot } = value;
    if (slot === undefined || (this.values[slot] ?? nameless) !== nameless) {
      this.others.set(value, name);
      return;
    }
    for (let i = this.values.length; i <= slot; i++) {
      this.values.push(nameless);
      this.names.push("");
    }
    this.values[slot] = value;
    this.names[slot] = name;
  }
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
  private readonly defined = new NameTable();
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
