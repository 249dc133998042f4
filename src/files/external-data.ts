/** Tensor data beside a model file. Nothing outside its folder is opened, and only the ranges asked for are read. */

import { closeSync, fstatSync, openSync, readSync, realpathSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import type { ExternalReader } from "../proto/tensors.ts";
import { OhemgenError } from "../support/errors.ts";

/**
 * The real path of a data file that a model names.
 * @throws OhemgenError E104 where it would lead out of the model's folder, E103 where it is missing.
 */
export function externalPath(modelPath: string, location: string): string {
  const refuse = (reason: string): never => {
    throw new OhemgenError(`external data "${location}" ${reason}`, {
      code: "E104",
      where: modelPath,
      hint: "Data files must lie in the model's folder or below it, named by a relative path.",
    });
  };
  if (location.includes("\0")) return refuse("has a name that no file has");
  if (/^([\\/]|[A-Za-z]:)/.test(location)) return refuse("is an absolute path");
  if (location.split(/[\\/]/).includes("..")) return refuse('leaves the model\'s folder with ".."');
  const folder = realpathSync(dirname(modelPath));
  let real: string;
  try {
    real = realpathSync(join(folder, location));
  } catch (error) {
    throw missing(modelPath, location, error);
  }
  if (!real.startsWith(folder.endsWith(sep) ? folder : folder + sep)) return refuse("is a symbolic link out of the model's folder");
  return real;
}

function missing(modelPath: string, location: string, cause: unknown): OhemgenError {
  const reason = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "is missing" : `cannot be read (${(cause as Error).message})`;
  return new OhemgenError(`the model's external data "${location}" ${reason}`, {
    code: "E103",
    where: modelPath,
    hint: "Put the data file beside the model, under the name that the model gives it.",
    cause,
  });
}

/** Reads ranges of the data files of one model; `close` when done. */
export function openExternalData(modelPath: string): { read: ExternalReader; close: () => void } {
  const files = new Map<string, { descriptor: number; size: number }>();
  const open = (location: string): { descriptor: number; size: number } => {
    const known = files.get(location);
    if (known !== undefined) return known;
    const path = externalPath(modelPath, location);
    try {
      const descriptor = openSync(path, "r");
      const stat = fstatSync(descriptor);
      const file = { descriptor, size: stat.isFile() ? stat.size : 0 };
      files.set(location, file);
      return file;
    } catch (error) {
      throw missing(modelPath, location, error);
    }
  };
  return {
    read: ({ location, offset, length }) => {
      const { descriptor, size } = open(location);
      if (!(offset + length <= size)) {
        throw new OhemgenError(`external data "${location}" has ${size} bytes, but bytes ${offset} to ${offset + length} are asked for`, {
          code: "E103",
          where: modelPath,
          hint: "The data file is truncated or belongs to another model.",
        });
      }
      return readRange(descriptor, offset, length);
    },
    close: () => {
      for (const { descriptor } of files.values()) closeSync(descriptor);
      files.clear();
    },
  };
}

function readRange(descriptor: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const read = readSync(descriptor, bytes, done, Math.min(length - done, 1 << 30), offset + done);
    if (read === 0) throw new RangeError("the file became shorter while it was read");
    done += read;
  }
  return bytes;
}
