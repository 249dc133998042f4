/** The generator: known values, exact continuation, streams that do not resemble each other. */

import { describe, expect, test } from "vitest";
import { Random, randomStream, shuffled } from "../../src/support/random.ts";

describe("random numbers", () => {
  test("sfc32 gives the values of its definition", () => {
    // Computed with 64-bit integers from the definition in PractRand: t = a + b + counter++; a = b ^ b>>>9; b = c + (c<<3); c = rotl(c, 21) + t.
    let [a, b, c, counter] = [1n, 2n, 3n, 4n];
    const word = (value: bigint): bigint => value & 0xffffffffn;
    const random = new Random([1, 2, 3, 4]);
    for (let i = 0; i < 1000; i++) {
      const t = word(a + b + counter);
      counter = word(counter + 1n);
      a = b ^ (b >> 9n);
      b = word(c + (c << 3n));
      c = word(word((c << 21n) | (c >> 11n)) + t);
      expect(random.bits()).toBe(Number(t));
    }
  });

  test("goes on exactly where its state was taken", () => {
    const random = randomStream(7);
    for (let i = 0; i < 10; i++) random.next();
    const copy = new Random(JSON.parse(JSON.stringify(random.state)));
    expect([copy.next(), copy.next(), copy.below(5)]).toEqual([random.next(), random.next(), random.below(5)]);
  });

  test("streams of neighbouring keys are different and even", () => {
    const firsts = Array.from({ length: 2000 }, (_, i) => randomStream(0, 2, i).next());
    expect(new Set(firsts).size).toBe(2000);
    const mean = firsts.reduce((sum, value) => sum + value, 0) / 2000;
    // The mean of 2000 even numbers has a standard deviation of 0.0065.
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.03);
    expect(randomStream(1, 2).bits()).not.toBe(randomStream(2, 1).bits());
    expect(randomStream(2 ** 32).bits()).not.toBe(randomStream(0).bits());
  });

  test("a shuffle holds every number once", () => {
    const order = shuffled(100, randomStream(3));
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(order).not.toEqual(shuffled(100, randomStream(4)));
    expect(order).toEqual(shuffled(100, randomStream(3)));
  });
});
