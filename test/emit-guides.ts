/** `npm run emit-guides`: brings what is made from the code in examples/guides up to date. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { guides, madePages } from "./guide-files.ts";

for (const [name, text] of madePages()) writeFileSync(join(guides, name), text);
