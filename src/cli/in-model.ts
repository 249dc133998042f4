/** Errors about what is in a model file name the file. */

import { OhemgenError } from "../support/errors.ts";

/** Adds the file's name to errors about what is in it; wrong options are not the file's fault. */
export function inModel<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof OhemgenError) || error.exitCode === 2 || error.message.includes(path)) throw error;
    const { code, where = path, hint, exitCode } = error;
    throw new OhemgenError(`${path}: ${error.message}`, { code, where, exitCode, ...(hint === undefined ? {} : { hint }), cause: error });
  }
}
