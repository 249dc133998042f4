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

export interface Outcome {
  /** Models without a float input or output. */
  readonly withoutFloats: readonly string[];
  /** Names of models by the code of the refusal. */
  readonly refused: ReadonlyMap<string, readonly string[]>;
  readonly checked: readonly Checked[];
}

/** @param all every model, not one for each operator */
export function outcomeOf(folder: string, all: boolean): Outcome {
  const described = JSON.parse(python("operator_models.py", ["write", folder, ...(all ? [] : ["--one-per-operator"])])) as Described[];
  const withoutFloats: string[] = [];
  const refused = new Map<string, string[]>();
  const made: { name: string; outputs: unknown }[] = [];
  for (const model of described) {
    const result = attempt(model);
    if (result.kind === "made") made.push({ name: model.name, outputs: result.outputs });
    else if (result.kind === "refused") refused.set(result.code, [...(refused.get(result.code) ?? []), model.name]);
    else withoutFloats.push(model.name);
  }
  const lines = python("operator_models.py", ["check", folder], JSON.stringify(made)).trim().split("\n");
  return { withoutFloats, refused, checked: lines.map((line) => JSON.parse(line) as Checked) };
}

/** The counts as a page. */
export function countsPage({ withoutFloats, refused, checked }: Outcome): string {
  const compared = checked.filter(({ pairs }) => pairs > 0);
  const silent = checked.filter(({ pairs, unchecked, failed }) => pairs === 0 && unchecked === undefined && failed === undefined);
  const unchecked = checked.filter((model) => model.unchecked !== undefined);
  const failed = checked.filter((model) => model.failed !== undefined);
  const pairs = compared.reduce((sum, model) => sum + model.pairs, 0);
  const kinks = checked.reduce((sum, model) => sum + model.kinks.length, 0);
  const refusals = [...refused].sort(([a], [b]) => (a < b ? -1 : 1));
  const rows: (readonly [string, number])[] = [
    ["gradients compared and equal", compared.length - failed.length],
    ["different", failed.length],
    ["gradient made, no derivative near the inputs to compare with", silent.length],
    ["gradient made, not compared: the reference cannot run the model", unchecked.length],
    ...refusals.map(([code, names]) => [`refused with ${code}`, names.length] as const),
    ["no float input or output", withoutFloats.length],
  ];
  return [
    "# Operator models",
    "",
    `One test model of the ONNX package for each operator: \`ohemgen grad\` of every float output with respect to every float input, against`,
    "differences in float64. Made by `npm run emit-operators`.",
    "",
    "| outcome | models |",
    "| --- | --- |",
    ...rows.map(([what, count]) => `| ${what} | ${count} |`),
    "",
    `${pairs} gradients were compared; ${kinks} more stand at a kink, where differences say nothing.`,
    "",
    ...refusals.flatMap(([code, names]) => [`Refused with ${code}: ${names.map((name) => `\`${name}\``).join(", ")}.`, ""]),
  ].join("\n");
}
