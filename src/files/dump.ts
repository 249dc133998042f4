/** `--dump`: models as text and as `.onnx`, numbered in the order they come; each is on disk before the next phase begins. */

import { join } from "node:path";
import type { Model } from "../ir/graph.ts";
import { modelText } from "../ir/text.ts";
import { encodeModelChunks } from "../proto/encode.ts";
import { refuseFolder, writeFileAtomically } from "./atomic.ts";

/**
 * @param dir made where it is not there; what an earlier command left in it is not replaced
 * @throws OhemgenError E110 where the folder is not empty, E112 where it cannot be written
 */
export function dumpInto(dir: string): (phase: string, model: () => Model) => void {
  refuseFolder(dir, []);
  let count = 0;
  return (phase, make) => {
    count += 1;
    const stem = join(dir, `${String(count).padStart(2, "0")}-${phase}`);
    const model = make();
    writeFileAtomically(`${stem}.txt`, modelText(model));
    writeFileAtomically(`${stem}.onnx`, encodeModelChunks(model));
  };
}
