/**
 * Hash table of nodes for finding one with the same operator, attributes and inputs: keys are numbers, compared only where
 * they meet, so that a graph of hundreds of thousands of nodes needs no string for each. Two equal nodes are never in it.
 */

import type { Node } from "../ir/graph.ts";

const empty = -1;

export class NodeTable {
  private readonly nodes: Node[] = [];
  private readonly hashes: number[] = [];
  /** Indices of nodes; a power of two of places, at most half of them taken, the next free one after that of the hash. */
  private places = new Int32Array(1 << 10).fill(empty);

  find(hash: number, same: (node: Node) => boolean): Node | undefined {
    const { places, hashes, nodes } = this;
    const mask = places.length - 1;
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const index = places[place] as number;
      if (index === empty) return undefined;
      if (hashes[index] === hash && same(nodes[index] as Node)) return nodes[index];
    }
  }

  /** Enters a node that `find` did not find. */
  add(hash: number, node: Node): void {
    this.nodes.push(node);
    this.hashes.push(hash);
    if (2 * this.nodes.length <= this.places.length) this.take(this.nodes.length - 1);
    else this.grow();
  }

  private take(index: number): void {
    const { places } = this;
    const mask = places.length - 1;
    let place = (this.hashes[index] as number) & mask;
    while (places[place] !== empty) place = (place + 1) & mask;
    places[place] = index;
  }

  private grow(): void {
    this.places = new Int32Array(2 * this.places.length).fill(empty);
    for (let index = 0; index < this.nodes.length; index++) this.take(index);
  }
}

/** A hash continued by a number; a step of FNV-1a with the high bits mixed into the low ones, which choose the place. */
export function mixed(hash: number, number: number): number {
  const product = Math.imul(hash ^ number, 0x01000193);
  return product ^ (product >>> 15);
}
