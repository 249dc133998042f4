/** Writes the page of `ohemgen web` as a folder of files for any static host: node build.mjs FOLDER, after `npm run build`. */

import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { webFiles } from "../../dist/cli/web-server.js";

const folder = process.argv[2];
if (folder === undefined || existsSync(folder)) {
  console.error(folder === undefined ? "node build.mjs FOLDER" : `${folder} exists already`);
  process.exit(2);
}
for (const [address, path] of webFiles()) {
  // "/" is index.html, which has an address of its own too.
  if (address === "/") continue;
  const target = join(folder, ...address.split("/"));
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(path, target);
}
