/** What in examples/guides is made from the code: options of the commands, and errors by their codes. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command, OptionSpec } from "../src/cli/command.ts";
import { commands } from "../src/cli/commands.ts";
import { globalOptions } from "../src/cli/run.ts";
import { errorCodes } from "../src/support/error-codes.ts";

export const guides = join(import.meta.dirname, "..", "examples", "guides");

/** What stands before it in a page is written by hand. */
const marker = "<!-- From here on made by `npm run emit-guides`. -->\n";

/** Pages with a part that is made, by their path in the folder. */
export function madePages(): ReadonlyMap<string, string> {
  const pages = commands.map((command) => [`commands/${command.name}.md`, optionsPart(command)] as const);
  return new Map([...pages, ["troubleshooting.md", codesPart()] as const].map(([name, part]) => [name, `${written(name)}${marker}\n${part}`]));
}

function written(name: string): string {
  const [own = ""] = readFileSync(join(guides, name), "utf8").split(marker);
  return `${own.trimEnd()}\n\n`;
}

const cell = (text: string): string => text.replaceAll("|", "\\|");

/** What a value looks like, as in a usage line. */
function placeholder({ kind, choices }: OptionSpec): string {
  if (choices !== undefined) return "";
  return { flag: "", text: " X", number: " X", integer: " N", numbers: " A,B…", list: " X…" }[kind];
}

function row([name, spec]: readonly [string, OptionSpec]): string {
  const { describe, preset, choices, short, required } = spec;
  const option = `\`--${name}${placeholder(spec)}\`${short === undefined ? "" : `, \`-${short}\``}`;
  const text = choices === undefined ? describe : `${describe}: ${choices.map((choice) => `\`${choice}\``).join(", ")}`;
  return `| ${cell(option)} | ${cell(text)} | ${required ? "(needed)" : cell(preset ?? "")} |`;
}

function optionsPart({ name, argument, options }: Command): string {
  const usage = `ohemgen ${name}${argument === undefined ? "" : ` ${argument.name.toUpperCase()}`} [options]`;
  const groups = new Map<string, [string, OptionSpec][]>();
  for (const [option, spec] of Object.entries({ ...options, ...globalOptions }) as [string, OptionSpec][]) {
    const group = spec.group ?? "";
    groups.set(group, [...(groups.get(group) ?? []), [option, spec]]);
  }
  const choices = argument?.choices === undefined ? "" : ` (${argument.choices.join(", ")})`;
  const lines = ["## Options", "", `\`${usage}\`${argument === undefined ? "" : `: ${argument.describe}${choices}`}`, ""];
  for (const [group, specs] of groups) {
    if (group !== "") lines.push(`### ${group}`, "");
    lines.push("| option | what it does | default |", "| --- | --- | --- |", ...specs.map(row), "");
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

function codesPart(): string {
  const entries = Object.entries(errorCodes).map(([code, { means, help }]) => `### ${code}\n\n**${means}.** ${help}\n`);
  return `## Errors by code\n\n${entries.join("\n")}`;
}
