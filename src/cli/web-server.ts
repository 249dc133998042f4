/** Serves the page: a fixed table of addresses, so that no path from outside ever reaches the disk. */

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { OhemgenError } from "../support/errors.ts";

/** Built files, seen from src/cli and from dist/cli. */
const page = fileURLToPath(new URL("../../dist/page/", import.meta.url));
const demo = fileURLToPath(new URL("../../examples/demo/", import.meta.url));

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".png": "image/png",
  ".onnx": "application/octet-stream",
};

/** Nothing but the page's own files is loaded, connected to or run; the page names this itself too, for other hosts. */
const policy =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; " +
  "connect-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Isolation from other origins is what WebAssembly needs for threads. */
const isolation = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp", "X-Content-Type-Options": "nosniff" };

/** Files by address. @throws OhemgenError E401 without onnxruntime-web, E100 where the page is not built. */
export function webFiles(): ReadonlyMap<string, string> {
  if (!existsSync(page)) throw new OhemgenError("the page is not built", { code: "E100", where: page, hint: "Run `npm run build`." });
  const files = new Map<string, string>();
  const add = (prefix: string, folder: string, wanted = /./): void => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      if (wanted.test(name) && types[extname(name)] !== undefined && statSync(path).isFile()) files.set(`${prefix}${name}`, path);
    }
  };
  add("/", page);
  add("/ort/", runtimeFolder(), /^ort(\.(webgpu|wasm)\.min|-wasm-simd-threaded(\.asyncify)?)\.(mjs|wasm)$/);
  add("/demo/", demo, /^model\.onnx$/);
  for (const folder of ["images", "masks", "val_images", "val_masks"]) add(`/demo/${folder}/`, join(demo, folder));
  files.set("/", join(page, "index.html"));
  return files;
}

function runtimeFolder(): string {
  try {
    return dirname(createRequire(import.meta.url).resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm"));
  } catch (cause) {
    throw new OhemgenError("the page needs onnxruntime-web, which is not installed", {
      code: "E401",
      hint: "Install it beside ohemgen: npm install onnxruntime-web@1.30",
      cause,
    });
  }
}

/** @throws OhemgenError E002 where the port cannot be had. */
export function serveFiles(files: ReadonlyMap<string, string>, port: number, host: string): Promise<Server> {
  const server = createServer(({ method, url = "/" }, response) => {
    const [address = "/"] = url.split("?");
    const path = files.get(address);
    const headers = { ...isolation, "Content-Security-Policy": policy };
    if (path === undefined || (method !== "GET" && method !== "HEAD")) {
      response.writeHead(path === undefined ? 404 : 405, { ...headers, "Content-Type": "text/plain" }).end(path === undefined ? "not found\n" : "GET only\n");
      return;
    }
    const body = readFileSync(path);
    response.writeHead(200, { ...headers, "Content-Type": types[extname(path)], "Content-Length": body.length, "Cache-Control": "no-cache" });
    response.end(method === "HEAD" ? undefined : body);
  });
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new OhemgenError(`cannot serve at ${host}:${port}: ${cause.message}`, { code: "E002", hint: "Choose another --port.", cause })),
    );
    server.listen(port, host, () => resolve(server));
  });
}
