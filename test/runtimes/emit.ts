/** `npm run emit-runtimes`: measures the table of examples/guides/runtimes.md anew. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { guides } from "../guide-files.ts";
import { gradientCase, gradientModels, graphCases, type RuntimeCase } from "./cases.ts";
import { marker, type Row, tableText } from "./page.ts";
import { difference, onnxRuntime, type Runtime, runOn, runtimes } from "./runtimes.ts";

async function main(): Promise<void> {
  const versions = new Map<Runtime, string>();
  const rows: Row[] = [];
  let baseline = "";
  const measure = async ({ name, model, feeds }: RuntimeCase): Promise<void> => {
    const want = await onnxRuntime(model, feeds);
    baseline = want.version;
    const differences = new Map<Runtime, number>();
    for (const runtime of runtimes) {
      const got = await runOn(runtime, model, feeds, [...want.outputs.keys()]);
      versions.set(runtime, got.version);
      differences.set(runtime, difference(got, want));
    }
    rows.push({ name, differences: Object.fromEntries(differences) as Row["differences"] });
    console.log(name, Object.fromEntries(differences));
  };
  for (const each of graphCases()) await measure(each);
  for (const name of gradientModels) await measure(await gradientCase(name));
  const page = join(guides, "runtimes.md");
  const [written = ""] = readFileSync(page, "utf8").split(marker);
  writeFileSync(page, `${written}${marker}\n${tableText(rows, Object.fromEntries(versions) as Record<Runtime, string>, baseline)}`);
}

await main();
