/** A command line from arguments to exit code: 0 done, 1 the input cannot be handled, 2 wrong usage, 70 a bug. */

import yargs, { type Argv } from "yargs";
import { usageError } from "../support/errors.ts";
import type { Command, OptionSpecs } from "./command.ts";
import { commands } from "./commands.ts";
import { candidateLine, candidates } from "./completion.ts";
import { failureOf, printFailure } from "./failure.ts";
import { Output } from "./output.ts";
import { usageFailure } from "./usage.ts";
import { checkedValues, type RawValues } from "./values.ts";

export const globalOptions = {
  json: { kind: "flag", describe: "print one JSON document, an error too" },
  quiet: { kind: "flag", describe: "no progress", short: "q" },
  dump: { kind: "text", describe: "folder for the model after each phase, as text and .onnx" },
} as const satisfies OptionSpecs;

export async function runCommandLine(args: readonly string[]): Promise<number> {
  // Before parsing, so that a usage error is printed in the right form.
  const json = args.includes("--json");
  try {
    if (args.includes("--version")) await printVersion(json);
    else if (args.length === 0) return await printOverview();
    else return await parseAndRun(args);
    return 0;
  } catch (error) {
    const failure = failureOf(error);
    printFailure(failure, { json });
    return failure.exitCode;
  }
}

async function parseAndRun(args: readonly string[]): Promise<number> {
  let chosen: { readonly command: Command; readonly raw: RawValues } | undefined;
  await commandLine(args, (command, raw) => {
    chosen = { command, raw };
  }).parseAsync();
  if (chosen === undefined) return 0; // The help or the completion was printed.
  const { command, raw } = chosen;
  const { json = false, quiet = false, dump } = checkedValues(raw, globalOptions);
  if (dump !== undefined && command.builds !== true) {
    const building = commands.filter(({ builds }) => builds).map(({ name }) => name);
    throw usageError(`--dump: \`ohemgen ${command.name}\` builds no graphs`, `It goes with: ${building.join(", ")}.`);
  }
  const output = new Output({ json, quiet, dump });
  const argument = checkedArgument(command, raw);
  try {
    const result = await command.run(checkedValues(raw, command.options), argument, output);
    output.result(result);
    return result.exitCode ?? 0;
  } finally {
    output.endProgress();
  }
}

function checkedArgument({ argument }: Command, raw: RawValues): string {
  if (argument === undefined) return "";
  const text = String(raw[argument.name]);
  if (argument.choices !== undefined && !argument.choices.includes(text)) {
    throw usageError(`${argument.name} cannot be "${text}"`, `The choices are: ${argument.choices.join(", ")}.`);
  }
  return text;
}

function commandLine(args: readonly string[], choose: (command: Command, raw: RawValues) => void): Argv {
  const parser = yargs([...args])
    .scriptName("ohemgen")
    .usage("$0 <command>\n\nMakes an exported ONNX segmentation model trainable on the stock ONNX Runtime.")
    .parserConfiguration({
      "camel-case-expansion": false,
      "dot-notation": false,
      "parse-numbers": false,
      "parse-positional-numbers": false,
    })
    .locale("en")
    .exitProcess(false)
    .version(false)
    .wrap(Math.min(120, process.stdout.columns ?? 100))
    .option("version", { type: "boolean", describe: "show versions, of the runtime too" })
    .help()
    .alias("h", "help")
    .completion("completion", "print a script for tab completion", () => completions(args))
    .demandCommand(1, "no command given")
    .strict()
    .fail((message, error) => {
      // What fails in a parser of yargs itself is wrong usage too.
      throw error === undefined || error.name === "YError" ? usageFailure(message ?? error?.message ?? "", args) : error;
    });
  // yargs lays out the help of every command that runs, shown or not: a tenth of a second for a long list of options.
  const hidden = args.length > 0 && !args.some((arg) => /help|^-\w*h/.test(arg));
  for (const command of commands) addCommand(parser, command, hidden, choose);
  return parser;
}

/** The script of the shell puts the words of its line behind a flag of yargs, the program's name first. */
function completions(args: readonly string[]): string[] {
  const zsh = /zsh/.test(`${process.env.SHELL ?? ""} ${process.env.ZSH_NAME ?? ""}`);
  const words = args.slice(args.indexOf("--get-yargs-completions") + 2);
  return candidates(words).map((candidate) => candidateLine(candidate, zsh));
}

function addCommand(parser: Argv, command: Command, hidden: boolean, choose: (command: Command, raw: RawValues) => void): void {
  const { name, summary, argument, options, examples } = command;
  parser.command(
    argument === undefined ? name : `${name} <${argument.name}>`,
    summary,
    (builder) => {
      if (argument !== undefined) builder.positional(argument.name, { type: "string", describe: argument.describe });
      addOptions(builder, { ...options, ...globalOptions }, hidden);
      if (!hidden) for (const [text, what] of examples) builder.example(text, what);
    },
    (raw) => choose(command, raw),
  );
}

function addOptions(builder: Argv, specs: OptionSpecs, hidden: boolean): void {
  for (const [name, spec] of Object.entries(specs)) {
    const { kind, describe, short, choices, preset, group } = spec;
    builder.option(name, {
      type: kind === "flag" ? "boolean" : "string",
      hidden,
      describe: choices === undefined ? describe : `${describe}: ${choices.join(" | ")}`,
      ...(kind === "list" ? { array: true } : {}),
      ...(kind === "flag" ? {} : { requiresArg: true }),
      ...(short === undefined ? {} : { alias: short }),
      ...(preset === undefined ? {} : { defaultDescription: preset }),
      ...(group === undefined ? {} : { group: `${group}:` }),
    });
  }
}

async function printOverview(): Promise<number> {
  process.stderr.write(`${await commandLine([], () => {}).getHelp()}\n`);
  return 2;
}

async function printVersion(json: boolean): Promise<void> {
  const { versions } = await import("./versions.ts");
  const all = versions();
  const lines = Object.entries(all).map(([name, version]) => `${name} ${version ?? "not installed"}`);
  process.stdout.write(json ? `${JSON.stringify(all, null, 2)}\n` : `${lines.join("\n")}\n`);
}
