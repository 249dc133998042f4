/** `npm run build`: TypeScript → dist from scratch, the command executable. */

import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const compiler = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
rmSync(join(root, "dist"), { recursive: true, force: true });
try {
  execFileSync(process.execPath, [compiler, "-p", root], { stdio: "inherit" });
} catch {
  process.exit(1); // The compiler has said why.
}
const page = join(root, "dist", "page");
const entryPoints = ["page", "worker"].map((name) => join(root, "src", "web", `${name}.ts`));
await build({ entryPoints, outdir: page, bundle: true, format: "esm", platform: "browser", target: "es2022", minify: true, logLevel: "warning" });
const style = readFileSync(createRequire(import.meta.url).resolve("uplot/dist/uPlot.min.css"), "utf8");
writeFileSync(join(page, "style.css"), style + readFileSync(join(root, "src", "web", "style.css"), "utf8"));
copyFileSync(join(root, "src", "web", "index.html"), join(page, "index.html"));
const demo = join(root, "examples", "demo");
const classNames = readFileSync(join(demo, "classes.txt"), "utf8").trim().split("\n");
const [training, validation] = ["images", "val_images"].map((name) => readdirSync(join(demo, name)).sort());
writeFileSync(join(page, "demo.json"), JSON.stringify({ classNames, training, validation }));
chmodSync(join(root, "dist", "cli", "main.js"), 0o755);
