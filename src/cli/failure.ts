/** Errors as a person or a program reads them: what, where, what to do, and a code; and the exit code they stand for. */

import { BugError, OhemgenError } from "../support/errors.ts";
import { styled } from "./output.ts";

export interface Failure {
  readonly exitCode: 1 | 2 | 70;
  readonly code: string;
  readonly message: string;
  readonly where: string | null;
  readonly hint: string | null;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof OhemgenError) {
    const { exitCode, code, message, where = null, hint = null } = error;
    return { exitCode, code, message, where, hint };
  }
  const system = systemFailure(error);
  if (system !== undefined) return system;
  const message = error instanceof Error ? error.message : String(error);
  const stack = error instanceof Error ? (error.stack ?? null) : null;
  const hint = "This is a fault of ohemgen. Please report it with the command and, if you can, the model.";
  return { exitCode: 70, code: error instanceof BugError ? "E700" : "E701", message: `internal error: ${message}`, where: stack, hint };
}

/** What the operating system refused, in words. */
const systemReasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EISDIR: "it is a folder",
  ENOTDIR: "not a folder",
  ENOSPC: "the disk is full",
  EROFS: "the disk is read-only",
  EMFILE: "too many open files",
  EDQUOT: "the disk quota is used up",
  ENAMETOOLONG: "the name is too long",
};

function systemFailure(error: unknown): Failure | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, path } = error as NodeJS.ErrnoException;
  const reason = code === undefined ? undefined : systemReasons[code];
  if (reason === undefined) return undefined;
  return { exitCode: 1, code: "E003", message: path === undefined ? reason : `${path}: ${reason}`, where: path ?? null, hint: null };
}

export function printFailure(failure: Failure, { json }: { readonly json: boolean }): void {
  const { code, message, where, hint } = failure;
  if (json) {
    process.stdout.write(`${JSON.stringify({ error: { code, message, where, hint } }, null, 2)}\n`);
    return;
  }
  const [first = "", ...rest] = message.split("\n");
  const name = styled(31, "ohemgen:", process.stderr);
  let text = `${name} ${first}  [${code}]\n`;
  if (rest.length > 0) text += indented(rest.join("\n"));
  if (where !== null && !message.includes(where)) text += `\n${indented(where)}`;
  if (hint !== null) text += `\n${indented(hint)}`;
  process.stderr.write(text);
}

function indented(text: string): string {
  return text
    .split("\n")
    .map((line) => (line === "" ? "\n" : `  ${line}\n`))
    .join("");
}
