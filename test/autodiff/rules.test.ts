/** Every gradient rule against finite differences, with static and with symbolic shapes. */

import { describe, expect, test } from "vitest";
import { nonDifferentiable } from "../../src/autodiff/registry.ts";
import { gradients } from "../../src/autodiff/rules.ts";
import { caseName, type Form } from "./case.ts";
import { families } from "./cases.ts";
import { checkCase } from "./check.ts";

for (const [family, cases] of Object.entries(families)) {
  describe(family, () => {
    for (const given of cases) {
      const forms: Form[] = given.staticOnly === undefined ? ["static", "symbolic"] : ["static"];
      for (const form of forms) {
        for (const provider of given.providers ?? (["any"] as const)) {
          test(`${caseName(given)}, ${form}${provider === "any" ? "" : `, ${provider}`}`, () => checkCase(given, form, provider));
        }
      }
    }
  });
}

test("every rule has a case", () => {
  const covered = new Set(
    Object.values(families)
      .flat()
      .map(({ op }) => op),
  );
  const rules = Object.entries(gradients).filter(([, rule]) => rule !== nonDifferentiable);
  expect(rules.map(([op]) => op).filter((op) => !covered.has(op))).toEqual([]);
});

test("no two cases have the same name", () => {
  const names = Object.values(families).flat().map(caseName);
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
});
