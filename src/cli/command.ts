/**
 * What a command is: data. Its options are declared once, and from the declaration come the help, the check of
 * every value and the types that `run` sees.
 */

import type { Output } from "./output.ts";

/** `list` may be repeated and takes several values; `numbers` is one value like `0.5,2`. */
export type OptionKind = "flag" | "text" | "number" | "integer" | "numbers" | "list";

export interface OptionSpec {
  readonly kind: OptionKind;
  readonly describe: string;
  readonly short?: string;
  /** The only values a text may have. */
  readonly choices?: readonly string[];
  readonly min?: number;
  readonly max?: number;
  /** Shown in the help; the value itself comes from where the option is used. */
  readonly preset?: string;
  /** Heading in the help. */
  readonly group?: string;
  readonly required?: boolean;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

type ValueOf<Spec extends OptionSpec> = Spec extends { kind: "flag" }
  ? boolean
  : Spec extends { kind: "number" | "integer" }
    ? number
    : Spec extends { kind: "numbers" }
      ? readonly number[]
      : Spec extends { kind: "list" }
        ? readonly string[]
        : Spec extends { choices: readonly (infer Choice)[] }
          ? Choice
          : string;

/** Values by option name; `undefined` where an option was not given. */
export type Values<Specs extends OptionSpecs> = {
  readonly [Name in keyof Specs]: Specs[Name] extends { required: true } ? ValueOf<Specs[Name]> : ValueOf<Specs[Name]> | undefined;
};

/** What a command hands back: the same facts for a program (`--json`) and for a person. */
export interface Result {
  readonly document: unknown;
  readonly text: string;
  /** Default 0; 1 where the result is a verdict against the input, 128 and its number where a signal ended the work. */
  readonly exitCode?: number;
}

export interface Command<Specs extends OptionSpecs = OptionSpecs> {
  readonly name: string;
  readonly summary: string;
  /** The one argument that is not an option, as the help shows it. */
  readonly argument?: { readonly name: string; readonly describe: string; readonly choices?: readonly string[] };
  readonly options: Specs;
  /** Whether it makes graphs, which `--dump` shows after each phase. */
  readonly builds?: boolean;
  readonly examples: readonly (readonly [command: string, what: string])[];
  /** `argument` is "" for a command that has none. */
  run(values: Values<Specs>, argument: string, output: Output): Promise<Result>;
}

export function defineCommand<const Specs extends OptionSpecs>(command: Command<Specs>): Command {
  // The values given to `run` are made from the same specs (values.ts), which a type cannot say here.
  return command as unknown as Command;
}
