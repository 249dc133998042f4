/** `ohemgen ops`: the operators and what is known about each, as a table, a document or the page src/OPERATORS.md. */

import type { OperatorInfo, OperatorState } from "../../attach/operators.ts";
import { defineCommand, type Result } from "../command.ts";
import { table } from "../table.ts";

export const opsCommand = defineCommand({
  name: "ops",
  summary: "list operators that have a gradient",
  options: { markdown: { kind: "flag", describe: "print the page src/OPERATORS.md" } },
  examples: [["ohemgen ops | grep Resize", "what is known about an operator"]],
  async run({ markdown }): Promise<Result> {
    const { operatorTable } = await import("../../attach/operators.ts");
    const operators = operatorTable();
    return { document: operators, text: markdown ? operatorPage(operators) : operatorText(operators) };
  },
});

const meanings: Readonly<Record<OperatorState, string>> = {
  rule: "a gradient rule",
  declared: "declared: piecewise constant or positions only, so that the gradient is zero and passing it is no error",
  decomposed: "becomes other operators when the model is brought to opset 18",
  missing: "read and written, but a gradient cannot pass: an error where it lies between a trained tensor and the logits",
  unknown: "not known",
};

export function operatorText(operators: readonly OperatorInfo[]): string {
  return table([["operator", "gradient", "family"], ...operators.map(({ op, state, family }) => [op, state, family])]);
}

const order: readonly OperatorState[] = ["rule", "decomposed", "declared", "missing"];

/** Generated: `ohemgen ops --markdown`. */
export function operatorPage(operators: readonly OperatorInfo[]): string {
  const counts = order.map((state) => ({ state, ops: operators.filter((operator) => operator.state === state) })).filter(({ ops }) => ops.length > 0);
  const families = [...new Set(operators.map(({ family }) => family))].filter((family) => family !== "").sort();
  const lines = [
    "# Operators",
    "",
    "Made by `ohemgen ops --markdown` from the registry of rules, the catalog and the converters; a test keeps it in step.",
    "Opsets 7 to 28 are read and brought to opset 18 first, so that a rule sees one spelling of each operator.",
    "",
    "| state | operators | meaning |",
    "| --- | --- | --- |",
    ...counts.map(({ state, ops }) => `| ${state} | ${ops.length} | ${meanings[state]} |`),
    "",
    "## With a rule",
    "",
    "| family | operators |",
    "| --- | --- |",
    ...families.flatMap((family) => {
      const ops = operators.filter((operator) => operator.family === family && operator.state === "rule");
      return ops.length === 0 ? [] : [`| [${family}](autodiff/rules/${family}.ts) | ${ops.map(({ op }) => op).join(", ")} |`];
    }),
    ...counts
      .filter(({ state }) => state !== "rule")
      .flatMap(({ state, ops }) => ["", `## ${state.charAt(0).toUpperCase()}${state.slice(1)}`, "", ...wrapped(ops.map(({ op }) => op))]),
  ];
  return `${lines.join("\n")}\n`;
}

/** Names with commas between, in lines of at most 140 characters. */
function wrapped(names: readonly string[]): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const [i, name] of names.entries()) {
    const word = i === names.length - 1 ? name : `${name},`;
    if (line !== "" && line.length + word.length > 138) {
      lines.push(line);
      line = "";
    }
    line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
