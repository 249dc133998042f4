/** Names in a file: every one once, and the first free number for a hint that is asked for again. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { Names } from "../../src/proto/names.ts";

/** The same by looking at every name given so far. */
function plainly(): (hint: string) => string {
  const taken = new Set<string>();
  return (hint) => {
    let name = hint;
    for (let number = 1; taken.has(name); number++) name = `${hint}_${number}`;
    taken.add(name);
    return name;
  };
}

test("hints that look like made names get the first number that is free", () => {
  const hint = fc.array(fc.constantFrom("x", "_", "1", "2", "0", "\n"), { minLength: 1, maxLength: 5 }).map((parts) => parts.join(""));
  const property = fc.property(fc.array(hint, { maxLength: 40 }), (hints) => {
    const [names, given] = [new Names(undefined), plainly()];
    expect(hints.map((each) => names.uniqueNode(each))).toEqual(hints.map((each) => given(each)));
  });
  fc.assert(property, { numRuns: 2000 });
});
