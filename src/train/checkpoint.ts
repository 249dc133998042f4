/**
 * A checkpoint: the state tensors and where the run stands, as safetensors bytes. It holds no time and no path, so
 * equal runs give equal files.
 */

import type { Manifest } from "../attach/manifest.ts";
import type { Tensor } from "../ir/tensor.ts";
import { decodeSafetensors, safetensorsChunks } from "../proto/safetensors.ts";
import { OhemgenError } from "../support/errors.ts";

/** Where a run stands: with the settings of the run it determines everything that follows. */
export interface Progress {
  /** Updates done, skipped ones included. */
  readonly step: number;
  /** Passes over the images. */
  readonly epoch: number;
  /**
   * Samples taken: where the loader stands. Random numbers come from streams of (seed, position), so this and `seed`
   * are the whole state of the generators.
   */
  readonly position: number;
  readonly seed: number;
  readonly best: { readonly step: number; readonly miou: number } | null;
  /** Step of the last validation; 0 before the first. */
  readonly validated: number;
  /** Validations since the best one. */
  readonly stale: number;
  /** Steps without update, because a number was not finite. */
  readonly skipped: number;
  /** Samples left out, because their files could not be used. */
  readonly skippedImages: number;
}

export interface Checkpoint {
  readonly fingerprint: string;
  readonly progress: Progress;
  readonly state: ReadonlyMap<string, Tensor>;
}

const format = "ohemgen-checkpoint-1";

export function encodeCheckpoint({ fingerprint, progress, state }: Checkpoint): Uint8Array[] {
  return safetensorsChunks(state, { format, fingerprint, progress: JSON.stringify(progress) });
}

/**
 * Reads a checkpoint, or a bare state file such as `state.safetensors`, for the graphs of `manifest`.
 * @throws OhemgenError E105 (corrupt), E420 (of another model or another layout of the state).
 */
export function decodeCheckpoint(bytes: Uint8Array, path: string, manifest: Manifest): Checkpoint {
  const { tensors, metadata } = decodeSafetensors(bytes);
  const { fingerprint = manifest.fingerprint, progress } = metadata;
  if (fingerprint !== manifest.fingerprint) foreign(path, "it was made with other graphs");
  const state = new Map<string, Tensor>();
  for (const { name, shape } of manifest.state) {
    const tensor = tensors.get(name) ?? foreign(path, `it has no tensor "${name}"`);
    if (tensor.dims.join() !== shape.join()) foreign(path, `"${name}" is [${tensor.dims}] there and [${shape}] here`);
    state.set(name, tensor);
  }
  return { fingerprint, progress: progress === undefined ? freshProgress(0) : parsedProgress(progress, path), state };
}

export function freshProgress(seed: number): Progress {
  return { step: 0, epoch: 0, position: 0, seed, best: null, validated: 0, stale: 0, skipped: 0, skippedImages: 0 };
}

function parsedProgress(text: string, path: string): Progress {
  try {
    const progress = { ...freshProgress(0), ...(JSON.parse(text) as Partial<Progress>) };
    const { best: _, ...numbers } = progress;
    if (Object.values(numbers).every((value) => typeof value === "number" && value >= 0)) return progress;
  } catch {
    // Said below.
  }
  throw new OhemgenError(`${path} does not say where its run stands`, { code: "E105", where: path, hint: "The file is corrupt." });
}

function foreign(path: string, reason: string): never {
  throw new OhemgenError(`${path} does not belong to this training folder: ${reason}`, {
    code: "E420",
    where: path,
    hint: "Use a checkpoint of a run with this folder; attaching again with other options changes the state.",
  });
}
