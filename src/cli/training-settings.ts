/** Settings of a run: what was asked for, else what the run that is taken up had, else defaults from data and graphs. */

import type { Manifest } from "../attach/manifest.ts";
import { OhemgenError, usageError } from "../support/errors.ts";
import type { Augmentation } from "../train/augment.ts";
import { cropSize } from "../train/crop-size.ts";
import type { Layout } from "../train/layout.ts";
import type { Schedule } from "../train/schedule.ts";

/** `undefined`: not asked for. */
export interface SettingsRequest {
  readonly steps?: number | undefined;
  readonly epochs?: number | undefined;
  readonly batch?: number | undefined;
  readonly accumulate?: number | undefined;
  readonly crop?: readonly [height: number, width: number] | undefined;
  readonly rate?: number | undefined;
  readonly schedule?: Schedule["kind"] | undefined;
  readonly warmup?: number | undefined;
  readonly validateEvery?: number | undefined;
  readonly saveEvery?: number | undefined;
  readonly patience?: number | undefined;
  readonly scale?: readonly [number, number] | undefined;
  readonly flip?: boolean | undefined;
  readonly color?: number | undefined;
  /** False: all of it off. */
  readonly augment?: boolean | undefined;
  readonly seed?: number | undefined;
}

export interface Settings {
  readonly seed: number;
  /** Images per run of the graph, and runs per update. */
  readonly batch: number;
  readonly accumulate: number;
  readonly size: readonly [height: number, width: number];
  readonly augmentation: Augmentation;
  readonly schedule: Schedule;
  readonly validateEvery: number;
  readonly saveEvery: number;
  readonly patience: number | null;
}

export interface SettingsContext {
  readonly layout: Layout;
  readonly manifest: Manifest;
  /** Training images. */
  readonly images: number;
  /** Size of the first one. */
  readonly picture: { readonly width: number; readonly height: number };
  readonly validation: boolean;
  /** Of the run that is taken up. */
  readonly stored: Settings | undefined;
}

/** A checkpoint at least this often: a crash should cost minutes, not hours. */
const mostStepsBetweenSaves = 200;

/** @throws OhemgenError E002 (against the graphs), E423 (what a run that is taken up cannot change). */
export function resolveSettings(request: SettingsRequest, context: SettingsContext): Settings {
  const { layout, images, stored, manifest } = context;
  const batch = request.batch ?? stored?.batch ?? layout.batch ?? Math.min(8, images);
  if (layout.batch !== null && batch !== layout.batch) {
    throw usageError(`--batch ${batch}: these graphs have a batch of ${layout.batch}`, "Attach with --input-shape to change it.");
  }
  const accumulate = request.accumulate ?? stored?.accumulate ?? 1;
  const fromEpochs = request.epochs === undefined ? undefined : Math.ceil((request.epochs * images) / (batch * accumulate));
  const steps = request.steps ?? fromEpochs ?? stored?.schedule.steps ?? 1000;
  const adamw = manifest.state.some(({ name }) => name === "exp_avg");
  const validateEvery = request.validateEvery ?? stored?.validateEvery ?? Math.max(1, Math.ceil(steps / 10));
  if (request.patience !== undefined && !context.validation) throw usageError("--patience needs --val-images and --val-masks");
  const settings: Settings = {
    seed: request.seed ?? stored?.seed ?? 0,
    batch,
    accumulate,
    size: cropSize(request.crop ?? stored?.size, layout, context.picture),
    augmentation: augmentation(request, stored?.augmentation),
    schedule: {
      kind: request.schedule ?? stored?.schedule.kind ?? "poly",
      rate: request.rate ?? stored?.schedule.rate ?? (adamw ? 3e-4 : 0.01),
      steps,
      warmup: request.warmup ?? stored?.schedule.warmup ?? Math.ceil(steps / 20),
    },
    validateEvery,
    saveEvery: request.saveEvery ?? stored?.saveEvery ?? Math.min(validateEvery, mostStepsBetweenSaves),
    patience: request.patience ?? stored?.patience ?? null,
  };
  if (stored !== undefined) refuseOtherSequence(settings, stored);
  return settings;
}

function augmentation({ augment, scale, flip, color }: SettingsRequest, stored: Augmentation | undefined): Augmentation {
  if (augment === false) return { scale: [1, 1], flip: false, color: 0 };
  const present = augment === true ? undefined : stored;
  return { scale: scale ?? present?.scale ?? [0.5, 2], flip: flip ?? present?.flip ?? true, color: color ?? present?.color ?? 0.2 };
}

/** The order of the samples comes from these; a run cannot go on at its place in another order. */
function refuseOtherSequence(settings: Settings, stored: Settings): void {
  for (const name of ["seed", "batch", "accumulate"] as const) {
    if (settings[name] === stored[name]) continue;
    throw new OhemgenError(`--${name} ${settings[name]}: the run that is taken up has ${stored[name]}`, {
      code: "E423",
      hint: "Leave the option out, or begin another run with -o.",
    });
  }
}

/** What differs, for a person to read. */
export function changesOf(settings: Settings, stored: Settings): string[] {
  const now = flat(settings);
  const before = flat(stored);
  return [...now].filter(([name, value]) => before.get(name) !== value).map(([name, value]) => `${name} ${value} instead of ${before.get(name)}`);
}

function flat({ schedule, augmentation: augment, ...rest }: Settings): Map<string, string> {
  const entries = Object.entries({ ...rest, ...schedule, ...augment });
  return new Map(entries.map(([name, value]) => [name, Array.isArray(value) ? value.join(",") : String(value)]));
}

export function describeSettings(settings: Settings, images: number, validation: boolean): (readonly string[])[] {
  const { batch, accumulate, size, augmentation: augment, schedule, validateEvery, saveEvery, patience } = settings;
  const epochs = (schedule.steps * batch * accumulate) / images;
  const none = augment.scale.join() === "1,1" && !augment.flip && augment.color === 0;
  return [
    [
      "steps",
      `${schedule.steps} of ${batch}${accumulate === 1 ? "" : ` × ${accumulate}`} images (${epochs.toFixed(epochs < 10 ? 1 : 0)} epochs), seed ${settings.seed}`,
    ],
    [
      "crops",
      `${size.join(" × ")}${none ? ", no augmentation" : `, scale ${augment.scale.join(" to ")}, ${augment.flip ? "" : "no "}flip, color ${augment.color}`}`,
    ],
    ["rate", `${schedule.rate}, ${schedule.kind}, warm-up of ${schedule.warmup} steps`],
    [
      "every",
      `${validation ? `${validateEvery} steps a validation, ` : ""}${saveEvery} steps a checkpoint${patience === null ? "" : `, patience ${patience}`}`,
    ],
  ];
}
