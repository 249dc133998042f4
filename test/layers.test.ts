/** The layering of the source: a folder imports only from lines below its own, and Node only where files and people are. */

import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const source = fileURLToPath(new URL("../src/", import.meta.url));

/** From the bottom up; folders on one line never import each other. */
const lines = [["support"], ["ir"], ["ops", "proto"], ["loss", "optim", "autodiff", "passes"], ["attach"], ["train", "files"], ["cli", "web"]];

/** The first line that may use Node. */
const nodeLine = lines.findIndex((folders) => folders.includes("files"));

const packages: Readonly<Record<string, readonly string[]>> = {
  "crc-32": ["train"],
  flatbuffers: ["proto"],
  protobufjs: ["proto", "train"],
  "fast-png": ["train"],
  "onnxruntime-web": ["web"],
  "onnxruntime-node": ["train"],
  sharp: ["train"],
  uplot: ["train", "web"],
  yargs: ["cli"],
};

interface Import {
  readonly file: string;
  readonly folder: string;
  readonly specifier: string;
  /** Gone when it is compiled. */
  readonly typesOnly: boolean;
}

const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));

const imports: Import[] = files.flatMap((file) => {
  const text = readFileSync(source + file, "utf8");
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^;"']*?from\s+["']([^"']+)["']|(?:^|\n)import\s+["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/g,
  );
  return [...found].map((match) => ({
    file,
    folder: folderOf(file),
    specifier: match[1] ?? match[2] ?? match[3] ?? "",
    typesOnly: /^\s*(import|export)\s+type\b/.test(match[0]),
  }));
});

/** Built into Node, or running there alone. */
function isNodeOnly(specifier: string): boolean {
  return specifier.startsWith("node:") || builtinModules.includes(specifier) || ["onnxruntime-node", "sharp", "yargs"].includes(specifier);
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, "");
}

/** "" for a file at the top: the library's entry. */
function folderOf(file: string): string {
  return file.includes("/") ? (file.split("/")[0] as string) : "";
}

function lineOf(folder: string): number {
  return folder === "" ? lines.length : lines.findIndex((folders) => folders.includes(folder));
}

describe("layers", () => {
  test("every folder has a line", () => {
    expect(files.map(folderOf).filter((folder) => folder !== "" && lineOf(folder) < 0)).toEqual([]);
    expect(imports.length).toBeGreaterThan(100);
  });

  test("imports point down", () => {
    const wrong = imports.filter(({ file, folder, specifier }) => {
      if (!specifier.startsWith(".")) return false;
      const target = new URL(specifier, `file:///${file}`).pathname.slice(1);
      return folderOf(target) !== folder && lineOf(folderOf(target)) >= lineOf(folder);
    });
    expect(wrong).toEqual([]);
  });

  test("nothing below the files uses Node", () => {
    const wrong = imports.filter(({ folder, specifier }) => {
      const isNode = specifier.startsWith("node:") || builtinModules.includes(specifier);
      // The library's entry and the page run in a browser too.
      return isNode && (folder === "" || folder === "web" || lineOf(folder) < nodeLine);
    });
    expect(wrong).toEqual([]);
  });

  test("the page and all it is bundled from use no Node", () => {
    const reached = new Set<string>();
    const reach = (file: string): void => {
      if (reached.has(file)) return;
      reached.add(file);
      for (const { specifier } of imports.filter((found) => found.file === file && !found.typesOnly)) {
        if (specifier.startsWith(".")) reach(new URL(specifier, `file:///${file}`).pathname.slice(1));
      }
    };
    for (const entry of ["web/page.ts", "web/worker.ts"]) reach(entry);
    expect(reached).toContain("train/loop.ts");
    const used = imports.filter(({ file, typesOnly, specifier }) => reached.has(file) && !typesOnly && isNodeOnly(specifier));
    expect(used).toEqual([]);
    const named = [...reached].filter((file) => /\b(process|Buffer|__dirname|require)\s*[.([]/.test(withoutComments(readFileSync(source + file, "utf8"))));
    expect(named).toEqual([]);
  });

  test("each package is used in one place", () => {
    const wrong = imports.filter(({ folder, specifier }) => {
      if (specifier.startsWith(".") || specifier.startsWith("node:")) return false;
      const name = specifier.startsWith("@") ? specifier.split("/").slice(0, 2).join("/") : (specifier.split("/")[0] as string);
      return !packages[name]?.includes(folder);
    });
    expect(wrong).toEqual([]);
  });

  test("imports name their file", () => {
    expect(imports.filter(({ specifier }) => specifier.startsWith(".") && !specifier.endsWith(".ts"))).toEqual([]);
  });

  test("files stay short and say what they are", () => {
    const wrong = files.filter((file) => {
      const text = readFileSync(source + file, "utf8").replace(/^#!.*\n/, "");
      return text.split("\n").length > 301 || !text.startsWith("/**");
    });
    expect(wrong).toEqual([]);
  });
});
