/** The guides say what is: options and error codes are those of the code, links lead somewhere, and the examples run. */

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { commands } from "../src/cli/commands.ts";
import { errorCodes } from "../src/support/error-codes.ts";
import { root, type Workplace, workplace } from "./cli/command.ts";
import { guides, madePages } from "./guide-files.ts";

const pages = readdirSync(guides, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".md"));
const read = (name: string): string => readFileSync(join(guides, name), "utf8");

describe("in step with the code", () => {
  test("options and error codes: npm run emit-guides", () => {
    for (const [name, text] of madePages()) expect(read(name), name).toBe(text);
  });

  test("every command has a page, and the index leads to every page", () => {
    for (const { name } of commands) expect(pages).toContain(`commands/${name}.md`);
    const index = read("README.md");
    for (const name of pages.filter((page) => page !== "README.md")) expect(index, name).toContain(`(${name})`);
    expect(readFileSync(join(root, "README.md"), "utf8")).toContain("(examples/guides/README.md)");
  });

  test("no code is explained that nothing raises", () => {
    const source = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.endsWith("error-codes.ts"))
      .map((name) => readFileSync(join(root, "src", name), "utf8"))
      .join("\n");
    expect(Object.keys(errorCodes).filter((code) => !source.includes(`"${code}"`))).toEqual([]);
  });

  test("links lead somewhere", () => {
    const broken = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\(([^)#]*)(?:#([^)]*))?\)/g)].flatMap(([, path = "", anchor]) => {
        if (/^https?:/.test(path)) return [];
        const target = path === "" ? join(guides, page) : join(guides, dirname(page), path);
        if (!existsSync(target)) return [`${page}: ${path}`];
        if (anchor === undefined) return [];
        const anchors = [...readFileSync(target, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
          title
            .toLowerCase()
            .replace(/[^\p{L}\p{N} -]/gu, "")
            .replaceAll(" ", "-"),
        );
        return anchors.includes(anchor) ? [] : [`${page}: #${anchor}`];
      }),
    );
    expect(broken).toEqual([]);
  });

  test.each([
    ["js", "loop.mjs"],
    ["python", "loop.py"],
  ])("the %s loop is part of %s", (language, file) => {
    const example = readFileSync(join(root, "examples", file), "utf8").split("\n");
    const shown = blocks(read("own-loop.md")).filter((block) => block.language === language);
    const lines = shown.flatMap(({ text }) => text.split("\n")).filter((line) => line.trim() !== "");
    expect(lines.length).toBeGreaterThan(5);
    expect(lines.filter((line) => !example.includes(line))).toEqual([]);
  });
});

interface Block {
  readonly language: string;
  readonly text: string;
}

function blocks(page: string): Block[] {
  return [...page.matchAll(/^```([\w ]+)\n([\s\S]*?)^```$/gm)].map(([, language = "", text = ""]) => ({ language, text }));
}

/** The example folder that the index describes, made as it says, with `ohemgen` on the path. */
function examplePlace(): Workplace & { sh(script: string): { code: number | null; output: string; stdout: string } } {
  const place = workplace();
  const bin = join(place.dir, ".bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "ohemgen"), `#!/bin/sh\nexec "${process.execPath}" "${join(root, "dist/cli/main.js")}" "$@"\n`);
  chmodSync(join(bin, "ohemgen"), 0o755);
  const env = {
    ...process.env,
    PATH: `${bin}:${dirname(process.execPath)}:${process.env.PATH}`,
    DEMO: join(root, "examples/demo"),
    EXAMPLES: join(root, "examples"),
  };
  const sh = (script: string) => {
    const { status, stdout, stderr } = spawnSync("sh", ["-e", "-c", script], { cwd: place.dir, env, encoding: "utf8" });
    return { code: status, output: `${script}\n${stdout}${stderr}`, stdout };
  };
  const setup = blocks(read("README.md")).find(({ language }) => language === "sh setup");
  expect(sh(setup?.text ?? "exit 1").code).toBe(0);
  return { ...place, sh };
}

/** Lines of `shown` in order; `…` stands for any lines. */
function expectShown(shown: string, stdout: string): void {
  const lines = stdout.split("\n").map((line) => line.trimEnd());
  let at = 0;
  for (const line of shown.trimEnd().split("\n")) {
    if (line === "…") continue;
    const found = lines.indexOf(line, at);
    expect(found, `"${line}" is not in the output:\n${stdout}`).toBeGreaterThanOrEqual(0);
    at = found + 1;
  }
}

describe("the examples run", () => {
  const withExamples = pages.filter((page) => blocks(read(page)).some(({ language }) => language === "sh"));

  test("there are some on every command's page", () => {
    // A server does not end by itself: web.test.ts runs `web`.
    const ending = commands.map(({ name }) => name).filter((name) => name !== "web");
    expect(withExamples).toEqual(expect.arrayContaining(ending.map((name) => `commands/${name}.md`)));
  });

  test.each(withExamples)("%s", { timeout: 120_000 }, (page) => {
    const place = examplePlace();
    try {
      let last = "";
      for (const { language, text } of blocks(read(page))) {
        if (language === "text") expectShown(text, last);
        if (language !== "sh") continue;
        const { code, output, stdout } = place.sh(text);
        expect(code, output).toBe(0);
        last = stdout;
      }
    } finally {
      place.remove();
    }
  });
});
