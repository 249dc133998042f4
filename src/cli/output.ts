/** Where text goes: results to stdout, everything else to stderr, so that a pipe sees results only. */

import type { Result } from "./command.ts";

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  /** Folder of `--dump`. */
  readonly dump?: string | undefined;
}

export class Output {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly dump: string | undefined;
  /** Text of the progress line now on the terminal. */
  #line = "";
  #lastPlain = 0;

  constructor({ json, quiet, dump }: OutputOptions) {
    this.json = json;
    this.quiet = quiet;
    this.dump = dump;
  }

  /** The result of a command: the one thing on stdout. */
  result({ document, text }: Result): void {
    this.endProgress();
    if (this.json) process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
    else if (text !== "") process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
  }

  /** With --json a line on stderr for a program that follows the work. */
  event(event: object): void {
    if (this.json && !this.quiet) process.stderr.write(`${JSON.stringify(event)}\n`);
  }

  /** A line a person may want to read while waiting. */
  note(text: string): void {
    if (this.quiet) return;
    this.endProgress();
    process.stderr.write(`${text}\n`);
  }

  /** A warning is shown with `--quiet` too. */
  warn(text: string): void {
    this.endProgress();
    process.stderr.write(`ohemgen: ${text}\n`);
  }

  /** On a terminal one line that is written over; else a line every few seconds, so that a log stays short. */
  progress(text: string, { last = false } = {}): void {
    if (this.quiet) return;
    if (process.stderr.isTTY) {
      const line = text.slice(0, Math.max(20, (process.stderr.columns ?? 80) - 1));
      process.stderr.write(`\r${line.padEnd(this.#line.length)}`);
      this.#line = line;
      if (last) this.endProgress();
    } else if (last || performance.now() - this.#lastPlain > plainInterval) {
      this.#lastPlain = performance.now();
      process.stderr.write(`${text}\n`);
    }
  }

  endProgress(): void {
    if (this.#line !== "") process.stderr.write("\n");
    this.#line = "";
  }
}

/** Milliseconds between progress lines in a log. */
const plainInterval = 5000;

/** Colour only where a person looks and has not declined it (no-color.org). */
export function styled(code: 1 | 2 | 31 | 32, text: string, stream: NodeJS.WriteStream): string {
  const colours = stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb";
  return colours ? `\u001b[${code}m${text}\u001b[0m` : text;
}
