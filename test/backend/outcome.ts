/** What `ohemgen grad` makes of the operator test models of the ONNX package, compared with differences in float64. */

import { python } from "../python.ts";
import { attempt, type Described } from "./attempt.ts";

/** As operator_models.py reports it. */
export interface Checked {
  readonly name: string;
  /** Gradients compared. */
  readonly pairs: number;
  /** Gradients that differences cannot tell anything about: no derivative near the inputs. */
  readonly kinks: readonly string[];
  readonly failed?: string;
  readonly unchecked?: string;
}

export interface Refused {
  readonly name: string;
  readonly code: string;
  /** What it was refused for, without the names of its tensors. */
  readonly reason: string;
}

export interface Outcome {
  /** Models without a float input or output. */
  readonly withoutFloats: readonly string[];
  readonly refused: readonly Refused[];
  /** Models all of whose gradients are zero, because an operator on every path is declared to have none. */
  readonly declared: ReadonlySet<string>;
  readonly checked: readonly Checked[];
}

/** @param all every model, not one for each operator */
export function outcomeOf(folder: string, all: boolean): Outcome {
  const described = JSON.parse(python("operator_models.py", ["write", folder, ...(all ? [] : ["--one-per-operator"])])) as Described[];
  const withoutFloats: string[] = [];
  const refused: Refused[] = [];
  const declared = new Set<string>();
  const made: { name: string; outputs: unknown }[] = [];
  for (const model of described) {
    const { name } = model;
    const result = attempt(model);
    if (result.kind === "refused") refused.push({ name, code: result.code, reason: reasonOf(result.code, result.message) });
    else if (result.kind === "no float") withoutFloats.push(name);
    else {
      made.push({ name, outputs: result.outputs });
      if (result.outputs.every(({ wrt }) => wrt.every(({ zero }) => zero))) declared.add(name);
    }
  }
  const lines = python("operator_models.py", ["check", folder], JSON.stringify(made)).trim().split("\n");
  return { withoutFloats, refused, declared, checked: lines.map((line) => JSON.parse(line) as Checked) };
}

function reasonOf(code: string, message: string): string {
  const [first = "", , , missing = ""] = message.split("\n");
  // The table of operators without a rule: heading, then one line per node.
  if (code === "E201") return `no rule for ${missing.trim().split(/\s+/)[0]}`;
  if (code === "E133") return first.replace(/^.* (is|to) /, "");
  return first.replace(/the number of dimensions of .* is not/, "a number of dimensions is not").replace(/, in opset \d+$/, "");
}

/** Refusals by code and reason, in that order. */
function groupsOf(refused: readonly Refused[]): readonly (readonly [code: string, reason: string, names: readonly string[]])[] {
  const groups = new Map<string, Refused[]>();
  for (const each of refused) {
    const key = `${each.code} ${each.reason}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  const sorted = [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([, all]) => [all[0]?.code ?? "", all[0]?.reason ?? "", all.map(({ name }) => name)] as const);
}

/** The counts as a page. */
export function countsPage({ withoutFloats, refused, declared, checked }: Outcome): string {
  const failed = checked.filter((model) => model.failed !== undefined);
  const unchecked = checked.filter((model) => model.unchecked !== undefined);
  const whole = checked.filter((model) => model.failed === undefined && model.unchecked === undefined);
  const compared = whole.filter(({ pairs }) => pairs > 0);
  const zero = compared.filter(({ name }) => declared.has(name));
  const pairs = checked.reduce((sum, model) => sum + model.pairs, 0);
  const kinks = checked.reduce((sum, model) => sum + model.kinks.length, 0);
  const groups = groupsOf(refused);
  const rows: (readonly [string, number])[] = [
    ["tried", withoutFloats.length + refused.length + checked.length],
    ["no float input or output: nothing to differentiate", withoutFloats.length],
    ["gradients compared and equal", compared.length - zero.length],
    ["declared to have no gradient, and differences are 0", zero.length],
    ["different", failed.length],
    ["gradient made, no derivative near the inputs to compare with", whole.length - compared.length],
    ["gradient made, not compared: random numbers, or the reference cannot run the model", unchecked.length],
    ["refused", refused.length],
  ];
  return [
    "# Operator models",
    "",
    "All test models of the ONNX package: `ohemgen grad` of every float output with respect to every float input, against differences in",
    "float64. Models of opsets below 7 are tried once more as the package's converter brings them to 13. Made by `npm run emit-operators`.",
    "",
    "| outcome | models |",
    "| --- | --- |",
    ...rows.map(([what, count]) => `| ${what} | ${count} |`),
    "",
    `${pairs} gradients were compared; ${kinks} more stand at a kink, where differences say nothing.`,
    "",
    "## Refused",
    "",
    "| code | reason | models |",
    "| --- | --- | --- |",
    ...groups.map(([code, reason, names]) => `| ${code} | ${reason} | ${names.length} |`),
    "",
    ...groups.flatMap(([code, reason, names]) => [`${code}, ${reason}: ${names.map((name) => `\`${name}\``).join(", ")}.`, ""]),
  ].join("\n");
}
