/** What the page and its worker tell each other; plain data that crosses between threads. */

import type { Colour } from "../attach/colours.ts";

export type Backend = "webgpu" | "wasm";

/** An image and its mask, of one name. */
export interface FilePair {
  readonly stem: string;
  readonly image: Blob;
  readonly mask: Blob;
}

export interface TrainingRequest {
  readonly model: Blob;
  readonly modelName: string;
  readonly training: readonly FilePair[];
  /** Measured on and never trained on; null: too few to keep any apart, the training pictures are measured on. */
  readonly validation: readonly FilePair[] | null;
  readonly classNames: readonly string[] | null;
  readonly backend: Backend | "auto";
  readonly steps: number;
  readonly rate: number;
  readonly batch: number;
  readonly scale: readonly [low: number, high: number];
  readonly flip: boolean;
  readonly color: number;
  readonly validateEvery: number;
  /** Height and width of the crops; null: the model's, or the first picture's. */
  readonly crop: readonly [number, number] | null;
  /** Sizes of inputs to fix. */
  readonly inputShapes: Readonly<Record<string, readonly (number | string)[]>> | null;
  /** Fresh last layers for so many classes. */
  readonly resetHead: number | null;
}

export type ToWorker = { readonly kind: "start"; readonly request: TrainingRequest } | { readonly kind: "stop" };

export interface Scores {
  readonly loss: number | null;
  readonly miou: number | null;
  readonly pixelAccuracy: number | null;
}

export interface Prediction {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  /** Interleaved RGB. */
  readonly picture: Uint8Array;
  readonly label: Uint8Array;
  readonly prediction: Uint8Array;
}

export type FromWorker =
  | { readonly kind: "stage"; readonly text: string }
  | {
      readonly kind: "ready";
      readonly backend: Backend;
      readonly threads: number;
      readonly trained: number;
      readonly size: readonly [number, number];
      readonly batch: number;
      readonly images: number;
      /** Null: measured on the training pictures. */
      readonly validationImages: number | null;
      readonly classNames: readonly string[];
      readonly classColours: readonly Colour[];
    }
  | { readonly kind: "step"; readonly step: number; readonly loss: number; readonly kept: number | null; readonly imagesPerSecond: number }
  | { readonly kind: "validation"; readonly step: number; readonly scores: Scores; readonly predictions: readonly Prediction[] }
  | { readonly kind: "warning"; readonly message: string }
  | { readonly kind: "finished"; readonly stopped: boolean; readonly steps: number; readonly model: Blob }
  | { readonly kind: "failed"; readonly code: string; readonly message: string; readonly hint: string | null };
