/**
 * What the shell offers behind `ohemgen …` and a tab. Where the answer is empty the scripts of yargs leave it to the
 * shell, which offers files: so it is for models, folders, and every value that is not one of a few words.
 */

import type { Command, OptionSpec, OptionSpecs } from "./command.ts";
import { commands } from "./commands.ts";

export interface Candidate {
  readonly word: string;
  readonly describe: string;
}

const everywhere: OptionSpecs = {
  json: { kind: "flag", describe: "print one JSON document, an error too" },
  quiet: { kind: "flag", describe: "no progress" },
  dump: { kind: "text", describe: "folder for the model after each phase" },
  help: { kind: "flag", describe: "show help" },
};

/** @param words after the program's name; the last one is being written, and may be empty */
export function candidates(words: readonly string[]): readonly Candidate[] {
  const current = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const command = commands.find(({ name }) => name === before[0]);
  const found = command === undefined ? (before.length === 0 ? atStart() : []) : inCommand(command, before.slice(1), current);
  return found.filter(({ word }) => word.startsWith(current) && (current !== "" || !word.startsWith("-")));
}

function atStart(): readonly Candidate[] {
  const own = [
    { word: "completion", describe: "print a script for tab completion" },
    { word: "--version", describe: "show versions" },
    { word: "--help", describe: "show help" },
  ];
  return [...commands.map(({ name, summary }) => ({ word: name, describe: summary })), ...own];
}

function inCommand({ options, argument }: Command, before: readonly string[], current: string): readonly Candidate[] {
  const all: OptionSpecs = { ...options, ...everywhere };
  if (current.startsWith("-")) return optionWords(all, before);
  const open = openOption(all, before);
  if (open !== undefined) return (open.choices ?? []).map((word) => ({ word, describe: "" }));
  return (argument?.choices ?? []).filter((word) => !before.includes(word)).map((word) => ({ word, describe: "" }));
}

/** Options that can still be given: lists again and again, the others once. */
function optionWords(all: OptionSpecs, before: readonly string[]): readonly Candidate[] {
  return Object.entries(all).flatMap(([name, { kind, describe, preset, short }]) => {
    const negated = kind === "flag" && preset === "on";
    const given = before.some((word) => word === `--${name}` || word === `--no-${name}` || (short !== undefined && word === `-${short}`));
    return given && kind !== "list" ? [] : [{ word: negated ? `--no-${name}` : `--${name}`, describe }];
  });
}

/** The option whose value is being written. */
function openOption(all: OptionSpecs, before: readonly string[]): OptionSpec | undefined {
  const at = before.findLastIndex((word) => word.startsWith("-"));
  if (at < 0) return undefined;
  const word = before[at] as string;
  const [, spec] = Object.entries(all).find(([name, { short }]) => word === `--${name}` || (short !== undefined && word === `-${short}`)) ?? [];
  if (spec === undefined || spec.kind === "flag") return undefined;
  return spec.kind === "list" || at === before.length - 1 ? spec : undefined;
}

/** A line as the script of the shell reads it; zsh shows what stands behind a colon. */
export function candidateLine({ word, describe }: Candidate, zsh: boolean): string {
  return zsh && describe !== "" ? `${word.replace(/:/g, "\\:")}:${describe}` : word;
}
