/** The one error class of ohemgen, and `bug` for faults of our own. */

import type { ErrorCode } from "./error-codes.ts";

export interface ErrorDetails {
  /** Stable identifier: `E101`. */
  readonly code: ErrorCode;
  /** Node, tensor, file or option the error is about. */
  readonly where?: string;
  /** What the user can do about it. */
  readonly hint?: string;
  /** 1: the input cannot be handled, 2: wrong usage. */
  readonly exitCode?: 1 | 2;
  readonly cause?: unknown;
}

/** An error the user can act on: says what, where and what to do. */
export class OhemgenError extends Error {
  readonly code: ErrorCode;
  readonly where: string | undefined;
  readonly hint: string | undefined;
  readonly exitCode: 1 | 2;

  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "OhemgenError";
    this.code = details.code;
    this.where = details.where;
    this.hint = details.hint;
    this.exitCode = details.exitCode ?? 1;
  }
}

/** Wrong usage of a command or an option: exit code 2. */
export function usageError(message: string, hint?: string, code: ErrorCode = "E002"): OhemgenError {
  return new OhemgenError(message, { code, exitCode: 2, ...(hint === undefined ? {} : { hint }) });
}

/** A fault of ohemgen itself: exit code 70. */
export class BugError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "BugError";
  }
}

/** Reports a broken invariant of ohemgen; never returns. */
export function bug(message: string): never {
  throw new BugError(message);
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) bug(message);
}
