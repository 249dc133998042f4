/** The words of yargs about wrong usage, made into errors of ours that name the option and the nearest right one. */

import { type OhemgenError, usageError } from "../support/errors.ts";
import type { Command } from "./command.ts";
import { commands } from "./commands.ts";

export function usageFailure(message: string, args: readonly string[]): OhemgenError {
  const word = args.find((arg) => !arg.startsWith("-"));
  const command = commands.find(({ name }) => name === word);
  const [first = ""] = message.split("\n");
  if (command !== undefined) return commandFailure(command, first, args);
  if (word === undefined) return usageError(lowerFirst(first), "`ohemgen --help` lists the commands.");
  return usageError(
    `unknown command "${word}"`,
    hintFor(
      word,
      commands.map(({ name }) => name),
      "`ohemgen --help` lists the commands.",
    ),
  );
}

function commandFailure({ name, argument, options }: Command, message: string, args: readonly string[]): OhemgenError {
  const help = `\`ohemgen ${name} --help\` lists the options.`;
  const unknown = /^Unknown arguments?: (.*)$/.exec(message)?.[1]?.split(", ") ?? [];
  const names = Object.keys(options);
  const [first] = unknown;
  const isOption = args.some((arg) => arg.startsWith("-") && arg.replace(/^-+(no-)?/, "").replace(/=.*$/, "") === first);
  if (first !== undefined && isOption) return usageError(`unknown option ${dashed(first)}`, hintFor(first, names.map(dashed), help));
  if (first !== undefined) return usageError(`${name} does not take "${first}"`, help);
  if (/^Not enough non-option arguments/.test(message) && argument !== undefined) {
    const lists = names.filter((option) => options[option]?.kind === "list").map(dashed);
    const swallowed = lists.length === 0 ? "" : ` It goes before options that take several values (${lists.join(", ")}).`;
    return usageError(`${argument.name} is missing`, `It is: ${argument.describe}.${swallowed}`);
  }
  const bare = /^Not enough arguments following: (.*)$/.exec(message)?.[1];
  return bare === undefined ? usageError(lowerFirst(message), help) : usageError(`${dashed(bare)} has no value`, help);
}

function dashed(option: string): string {
  return option.length === 1 ? `-${option}` : `--${option}`;
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

/** Suggests the candidate that a typing error or two away would be. */
function hintFor(word: string, candidates: readonly string[], help: string): string {
  const bare = word.replace(/^-+/, "");
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: editDistance(bare, candidate.replace(/^-+/, "")) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  const near = best !== undefined && best.distance <= Math.max(1, Math.floor(bare.length / 3));
  return near ? `Did you mean ${best.candidate}? ${help}` : help;
}

/** Levenshtein's distance, a row at a time. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
