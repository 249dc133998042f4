/** `npm run emit-graphs`: writes graphs/ anew with the built command; a test keeps it in step with the code. */

import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { configSchema } from "../dist/cli/config-schema.js";

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));

mkdirSync(path("graphs"), { recursive: true });
for (const kind of ["ohem-ce", "lovasz-softmax", "ohem-lovasz"]) {
  const args = [path("dist/cli/main.js"), "emit", kind, "-o", path(`graphs/${kind}.onnx`), "--force"];
  execFileSync(process.execPath, args, { stdio: "inherit" });
}
writeFileSync(path("graphs/attach.schema.json"), `${JSON.stringify(configSchema, null, 2)}\n`);
