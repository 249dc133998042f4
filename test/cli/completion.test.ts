/** Tab completion, asked as the shells ask: the printed script is loaded by the shell itself. */

import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { candidates } from "../../src/cli/completion.ts";
import { root, type Workplace, workplace } from "./command.ts";

const words = (...line: string[]): string[] => candidates(line).map(({ word }) => word);

describe("what is offered", () => {
  test("commands first, options only where one begins", () => {
    expect(words("")).toEqual(expect.arrayContaining(["attach", "train", "export", "completion"]));
    expect(words("ex")).toEqual(["export"]);
    expect(words("--v")).toEqual(["--version"]);
    expect(words("nonsense", "")).toEqual([]);
  });

  test("files where a model, a folder or a file is meant: nothing of ours", () => {
    expect(words("attach", "")).toEqual([]);
    expect(words("attach", "mo")).toEqual([]);
    expect(words("train", "model.train", "--images", "")).toEqual([]);
    expect(words("export", "model.train", "-o", "")).toEqual([]);
    expect(words("attach", "model.onnx", "--freeze", "a", "b")).toEqual([]);
  });

  test("the few words a value can be", () => {
    expect(words("attach", "model.onnx", "--optimizer", "")).toEqual(["sgd", "adamw"]);
    expect(words("attach", "model.onnx", "--optimizer", "a")).toEqual(["adamw"]);
    expect(words("attach", "model.onnx", "--optimizer", "sgd", "")).toEqual([]);
    expect(words("emit", "ohem")).toEqual(["ohem-ce", "ohem-lovasz"]);
  });

  test("options once, lists again, switches that are on as --no-", () => {
    expect(words("attach", "m", "--reset")).toEqual(["--reset-head"]);
    expect(words("attach", "m", "-o", "x", "--ou")).toEqual([]);
    expect(words("attach", "m", "--freeze", "a", "--freez")).toEqual(["--freeze"]);
    expect(words("train", "t", "--no-")).toEqual(["--no-flip", "--no-augment"]);
    expect(words("ops", "--j")).toEqual(["--json"]);
  });
});

function haveShell(name: string): boolean {
  const there = ["/bin", "/usr/bin", "/usr/local/bin"].some((dir) => existsSync(`${dir}/${name}`));
  if (!there && process.env["OHEMGEN_REQUIRE_ALL"]) throw new Error(`OHEMGEN_REQUIRE_ALL is set, but there is no ${name}`);
  return there;
}

describe("in a shell", () => {
  let place: Workplace;
  beforeAll(() => {
    place = workplace();
    mkdirSync(place.path("bin"));
    writeFileSync(place.path("bin/ohemgen"), `#!/bin/sh\nexec "${process.execPath}" "${join(root, "dist/cli/main.js")}" "$@"\n`);
    chmodSync(place.path("bin/ohemgen"), 0o755);
    mkdirSync(place.path("work"));
    for (const name of ["model one.onnx", "other.txt"]) writeFileSync(place.path(`work/${name}`), "");
  });
  afterAll(() => place.remove());

  function shell(name: string, args: readonly string[], script: string): string[] {
    const env = { ...process.env, PATH: `${place.path("bin")}:${process.env.PATH}`, SHELL: `/bin/${name}`, HOME: place.dir };
    return execFileSync(name, [...args, "-c", script], { cwd: place.path("work"), env, encoding: "utf8" })
      .trim()
      .split("\n");
  }

  const bash = (...line: string[]): string[] =>
    shell(
      "bash",
      ["--norc"],
      `eval "$(ohemgen completion)"; COMP_WORDS=(ohemgen ${line.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${line.length}; _ohemgen_yargs_completions; printf '%s\\n' "\${COMPREPLY[@]}"`,
    );

  test.skipIf(!haveShell("bash"))("bash: words of ours, else files by its own means", () => {
    expect(bash("att")).toEqual(["attach"]);
    expect(bash("attach", "m.onnx", "--optimizer", "")).toEqual(["sgd", "adamw"]);
    expect(bash("attach", "")).toEqual([""]);
    expect(shell("bash", ["--norc"], 'eval "$(ohemgen completion)"; complete -p ohemgen')).toEqual([
      "complete -o bashdefault -o default -F _ohemgen_yargs_completions ohemgen",
    ]);
  });

  const zsh = (...line: string[]): string[] =>
    shell(
      "zsh",
      ["-f"],
      `compdef() { :; }; _describe() { print -l -- \${(P)2}; }; _default() { print FILES; }; eval "$(ohemgen completion)"; words=(ohemgen ${line.map((word) => `'${word}'`).join(" ")}); CURRENT=${line.length + 1}; BUFFER= CURSOR=0; _ohemgen_yargs_completions`,
    );

  test.skipIf(!haveShell("zsh"))("zsh: words with what they mean, else files", () => {
    expect(zsh("att")).toEqual(["attach:write training graphs for a model"]);
    expect(zsh("attach", "m.onnx", "--optimizer", "a")).toEqual(["adamw"]);
    expect(zsh("attach", "")).toEqual(["FILES"]);
    expect(zsh("train", "t", "--images", "")).toEqual(["FILES"]);
  });
});
