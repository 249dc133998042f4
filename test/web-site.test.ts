/** The page as a folder: a host that knows nothing of it, at a path of its own choice, serves all that training needs. */

import { execFileSync, spawnSync } from "node:child_process";
import { createReadStream, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { webFiles } from "../src/cli/web-server.ts";
import { browserTest, openBrowser } from "./browser.ts";
import { root } from "./cli/command.ts";

const program = join(root, "examples", "web", "build.mjs");
const types: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

let place = "";
let site = "";
beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), "ohemgen-site-"));
  site = join(place, "site");
  execFileSync(process.execPath, [program, site]);
});
afterAll(() => rmSync(place, { recursive: true }));

test("holds every file that is served, and overwrites nothing", () => {
  const written = readdirSync(site, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(site, name)).isFile());
  const served = [...webFiles().keys()].filter((address) => address !== "/").map((address) => address.slice(1));
  expect(written.sort()).toEqual(served.sort());
  expect(spawnSync(process.execPath, [program, site]).status).toBe(2);
});

/** Sends no headers but the type, as the plainest hosts do. */
async function plainHost(prefix: string): Promise<Server> {
  const server = createServer(({ url = "/" }, response) => {
    const [path = "/"] = url.split("?");
    const file = join(site, path.startsWith(prefix) ? path.slice(prefix.length) || "index.html" : "nothing");
    if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return void response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": types[extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

browserTest("trains below another path, without the headers for threads", async () => {
  const server = await plainHost("/some/where/");
  const browser = await openBrowser();
  try {
    const page = await browser.newPage();
    const faults: string[] = [];
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
    page.on("response", (response) => response.status() !== 200 && faults.push(`${response.status()} ${response.url()}`));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/some/where/?backend=wasm&steps=1&batch=1`);
    await page.click("#demo");
    await page.waitForFunction(() => /^Done|\[E\d+\]/.test(document.getElementById("status")?.textContent ?? ""), undefined, { timeout: 110_000 });
    expect(await page.textContent("#status")).toBe("Done after 1 steps.");
    expect(await page.textContent("#about")).toContain("WebAssembly (threads: 1)");
    expect(faults).toEqual([]);
  } finally {
    await browser.close();
    server.close();
  }
});
