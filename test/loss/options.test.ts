/** Options: defaults, presets, every spelling, and refusals that say what is allowed. */

import { describe, expect, test } from "vitest";
import { lowerApproximation, parseFraction, parseMinKept } from "../../src/loss/fraction.ts";
import { checkForChannels, presets, resolveLossOptions } from "../../src/loss/options.ts";
import { OhemgenError } from "../../src/support/errors.ts";

function refusal(action: () => unknown): OhemgenError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(OhemgenError);
    expect((error as OhemgenError).exitCode).toBe(2);
    expect((error as OhemgenError).code).toBe("E010");
    return error as OhemgenError;
  }
  throw new Error("accepted");
}

describe("resolved options", () => {
  test("list every default", () => {
    expect(resolveLossOptions()).toEqual({
      ce: {
        weight: 1,
        threshold: 0.6,
        minKept: { fraction: "1/16", of: "all" },
        atCut: "exclude",
        budget: "batch",
        hardness: "probability",
        mining: "on",
        classWeights: null,
        normalizer: "kept",
        labelSmoothing: 0,
      },
      lovasz: { weight: 1, classes: "present", perImage: false, classWeights: null, ignore: "same", method: "exact", bins: 1024, binary: "hinge" },
      ignoreIndex: 255,
      upsample: "half_pixel",
    });
  });

  test.each(Object.keys(presets))("of the preset %s resolve to themselves and are plain JSON", (preset) => {
    const resolved = resolveLossOptions({}, preset);
    expect(resolveLossOptions(JSON.parse(JSON.stringify(resolved)))).toEqual(resolved);
  });

  test("keep the preset where nothing is given", () => {
    const resolved = resolveLossOptions({ ce: { threshold: 0.5 }, lovasz: { perImage: true } }, "bisenet");
    expect(resolved.ce).toMatchObject({ threshold: 0.5, minKept: { fraction: "1/16", of: "valid" }, atCut: "include", hardness: "loss" });
    expect(resolved.lovasz).toMatchObject({ weight: 0, perImage: true });
  });
});

test.each([
  [{ threshold: 1 }, 'unknown key "threshold"', '"ce"'],
  [{ ce: { treshold: 1 } }, 'unknown key "treshold"', '"threshold"'],
  [{ lovasz: { method: "sorted" } }, "lovasz.method", '"histogram"'],
  [{ lovasz: { classes: [1, 1] } }, "lovasz.classes", "different"],
  [{ lovasz: { bins: 0 } }, "lovasz.bins", "1048576"],
  [{ lovasz: { perImage: "yes" } }, "lovasz.perImage", "true or false"],
  [{ ce: { weight: -1 } }, "ce.weight", "from 0"],
  [{ ce: { threshold: Number.NaN } }, "ce.threshold", "number"],
  [{ ce: { classWeights: [1, "2"] } }, "ce.classWeights", "per class"],
  [{ ce: { minKept: 0.5 } }, "ce.minKept", "whole number"],
  [{ ce: { minKept: { fraction: "3/2", of: "all" } } }, "ce.minKept.fraction", "between 0 and 1"],
  [{ ce: { minKept: { fraction: "1/2", of: "some" } } }, "ce.minKept", "perImage"],
  [{ ce: { minKept: { fraction: "1/2", perImage: 2 } } }, "ce.minKept", "perImage"],
  [{ ce: { labelSmoothing: 1.5 } }, "ce.labelSmoothing", "from 0 to 1"],
  [{ ce: null }, "ce", "object"],
  [{ ignoreIndex: 1.5 }, "ignoreIndex", "whole"],
  [{ upsample: "nearest" }, "upsample", '"align_corners"'],
])("%j is refused", (given, where, hint) => {
  const error = refusal(() => resolveLossOptions(given as Record<string, unknown>));
  expect(error.message).toContain(where);
  expect(error.hint).toContain(hint);
});

test("an unknown preset is refused with the list", () => {
  expect(refusal(() => resolveLossOptions({}, "hrnet48")).hint).toContain("hrnet");
});

test.each([
  ["350000", 350000],
  ["1/16", { fraction: "1/16", of: "all" }],
  ["0.29@valid", { fraction: "29/100", of: "valid" }],
  ["2/32@all", { fraction: "1/16", of: "all" }],
  ["100000@image", { perImage: 100000 }],
  ["1e-3", { fraction: "1/1000", of: "all" }],
])("min-kept %s", (text, want) => {
  expect(parseMinKept(text)).toEqual(want);
});

test.each(["", "-1", "1/0", "1.5", "0.5@image", "1/16@some", "1@valid@all", "many", "1/2/3", "."])("min-kept %j is refused", (text) => {
  refusal(() => parseMinKept(text));
});

test("a decimal is what it says, not its binary neighbour", () => {
  expect(parseFraction(0.29)).toEqual({ numerator: 29n, denominator: 100n });
  expect(parseFraction("1e-7")).toEqual({ numerator: 1n, denominator: 10n ** 7n });
});

test("a fraction rounded down to a small denominator gives the same counts", () => {
  const limit = 500n;
  for (const [p, q] of [
    [1n, 3n],
    [333333333n, 1000000000n],
    [999999n, 1000000n],
    [1n, 1000000n],
    [0n, 1n],
    [617n, 1009n],
    [1n, 1n],
  ] as const) {
    const { numerator, denominator } = lowerApproximation({ numerator: p, denominator: q }, limit);
    expect(denominator).toBeLessThanOrEqual(limit);
    for (let count = 0n; count <= limit; count++) expect((count * numerator) / denominator).toBe((count * p) / q);
  }
});

describe("options against the channels of a head", () => {
  const check = (given: object, channels: number | undefined) => () => checkForChannels(resolveLossOptions(given), channels);

  test.each([
    [{ ce: { classWeights: [1, 2] } }, 3, "2 weights"],
    [{ lovasz: { classWeights: [1, 2, 3] } }, 1, "3 weights"],
    [{ lovasz: { classes: [3] } }, 3, "lists 3"],
    [{ lovasz: { classes: [0] } }, 1, "lists 0"],
    [{ lovasz: { method: "histogram" } }, 1, "histogram"],
    [{ ce: { classWeights: [1, 2] } }, undefined, "fixed number"],
  ])("%j with %s channels is refused", (given, channels, message) => {
    expect(refusal(check(given, channels)).message).toContain(message);
  });

  test.each([
    [{ ce: { classWeights: [1, 2] }, lovasz: { classWeights: [2] } }, 1],
    [{ lovasz: { method: "histogram", binary: "sigmoid", classes: [1] } }, 1],
    [{ lovasz: { method: "histogram", weight: 0 } }, 1],
    [{ lovasz: { method: "histogram" } }, 2],
  ])("%j with %s channels is accepted", (given, channels) => {
    expect(check(given, channels)).not.toThrow();
  });
});
