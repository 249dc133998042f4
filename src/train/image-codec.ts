/** The image library (sharp), loaded only when a picture is read or written: like the runtime it is an optional dependency. */

import type { Sharp, SharpOptions } from "sharp";
import { OhemgenError } from "../support/errors.ts";

type Codec = (input: Uint8Array, options?: SharpOptions) => Sharp;

let loaded: Promise<Codec> | undefined;

/** @throws OhemgenError E401 where it is missing or does not load. */
export function loadCodec(): Promise<Codec> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<Codec> {
  try {
    const { default: sharp } = await import("sharp");
    // Every picture is decoded once: a cache and more threads per picture would only take memory.
    sharp.cache(false);
    sharp.concurrency(1);
    return sharp as unknown as Codec;
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    const reason = missing ? "is not installed" : `does not load: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new OhemgenError(`this command reads pictures and needs sharp, which ${reason}`, {
      code: "E401",
      hint: "Install it beside ohemgen: npm install sharp@0.35",
      cause,
    });
  }
}
