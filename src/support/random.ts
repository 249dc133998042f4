/**
 * Random numbers from a seed, the same on every machine. Streams are derived from keys such as (seed, epoch,
 * position), so that a sample's numbers do not depend on the order in which samples are made.
 */

export type RandomState = readonly [number, number, number, number];

/** sfc32 (Chris Doty-Humphrey, PractRand): 128 bits of state, period at least 2³². */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter: number;

  constructor([a, b, c, counter]: RandomState) {
    this.#a = a | 0;
    this.#b = b | 0;
    this.#c = c | 0;
    this.#counter = counter | 0;
  }

  /** Continues exactly here when given to the constructor. */
  get state(): RandomState {
    return [this.#a, this.#b, this.#c, this.#counter];
  }

  /** A whole number of 32 bits. */
  bits(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    return this.bits() / 2 ** 32;
  }

  /** A whole number in [0, limit), for limits far below 2³². */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.next();
  }
}

/** A stream of its own for each list of keys. */
export function randomStream(...keys: readonly number[]): Random {
  // Each key is mixed in with the finalizer of MurmurHash3; the first outputs are dropped, as sfc32's author advises.
  let hash = 0x9e3779b9;
  const words = [1, 2, 3, 4].map((salt) => {
    for (const key of [...keys, salt]) hash = mixed(mixed(hash ^ Math.floor(key / 2 ** 32)) ^ (key | 0));
    return hash;
  });
  const random = new Random(words as unknown as RandomState);
  for (let i = 0; i < 15; i++) random.bits();
  return random;
}

function mixed(word: number): number {
  let hash = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) + 0x9e3779b9) | 0;
}

/** The numbers 0…count−1 in random order (Fisher and Yates). */
export function shuffled(count: number, random: Random): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}
