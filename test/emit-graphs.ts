/** `npm run emit-graphs`: writes graphs/ anew, all but its README. */

import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { graphFiles } from "./graph-files.ts";

const folder = new URL("../graphs/", import.meta.url);
mkdirSync(folder, { recursive: true });
for (const name of readdirSync(folder)) if (name !== "README.md") rmSync(new URL(name, folder));
for (const [name, bytes] of graphFiles()) writeFileSync(new URL(name, folder), bytes);
