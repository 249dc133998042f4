/** Versions of ohemgen and of what runs beneath it, found without loading the runtime. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

export function versions(): Record<string, string | null> {
  return {
    ohemgen: packageVersion("../../package.json") ?? "unknown",
    node: process.versions.node,
    "onnxruntime-node": packageVersion("onnxruntime-node/package.json"),
  };
}

function packageVersion(specifier: string): string | null {
  try {
    const { version } = JSON.parse(readFileSync(require.resolve(specifier), "utf8")) as { version: string };
    return version;
  } catch {
    return null;
  }
}
