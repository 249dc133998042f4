import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { writeFileAtomically, writeFolderAtomically } from "../../src/files/atomic.ts";
import { errorOf } from "../proto/build.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ohemgen-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Pieces of which a later one cannot be written. */
const failing = [Uint8Array.of(1, 2), null as unknown as Uint8Array];

describe("files", () => {
  test("are written whole, in pieces, into new folders", () => {
    const path = join(dir, "a", "b", "f.bin");
    writeFileAtomically(path, [Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(3)]);
    expect([...readFileSync(path)]).toEqual([1, 2, 3]);
    writeFileAtomically(join(dir, "t.txt"), "é");
    expect(readFileSync(join(dir, "t.txt"), "utf8")).toBe("é");
    expect(readdirSync(join(dir, "a", "b"))).toEqual(["f.bin"]);
  });

  test("replace an existing one only with force, and a folder never", () => {
    const path = join(dir, "f");
    writeFileAtomically(path, "old");
    expect(errorOf(() => writeFileAtomically(path, "new"), "E110").hint).toMatch(/--force/);
    expect(readFileSync(path, "utf8")).toBe("old");
    writeFileAtomically(path, "new", { force: true });
    expect(readFileSync(path, "utf8")).toBe("new");
    expect(errorOf(() => writeFileAtomically(dir, "new", { force: true }), "E110").message).toMatch(/folder/);
  });

  test("a failure leaves the old file and no trace", () => {
    const path = join(dir, "f");
    writeFileAtomically(path, "old");
    expect(() => writeFileAtomically(path, failing, { force: true })).toThrow();
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(dir)).toEqual(["f"]);
  });

  test("go through a symbolic link", () => {
    writeFileSync(join(dir, "real"), "old");
    symlinkSync("real", join(dir, "link"));
    writeFileAtomically(join(dir, "link"), "new", { force: true });
    expect(readlinkSync(join(dir, "link"))).toBe("real");
    expect(readFileSync(join(dir, "real"), "utf8")).toBe("new");
  });

  test("what cannot be written: E112", () => {
    writeFileSync(join(dir, "file"), "");
    expect(errorOf(() => writeFileAtomically(join(dir, "file", "x"), "new"), "E112").message).toMatch(/cannot write/);
    if (process.getuid?.() === 0) return;
    chmodSync(dir, 0o500);
    errorOf(() => writeFileAtomically(join(dir, "x"), "new"), "E112");
    chmodSync(dir, 0o700);
  });
});

describe("folders", () => {
  const files = (text: string) =>
    new Map([
      ["a.txt", text],
      ["sub/b.txt", text],
    ]);

  test("are written whole, beside nothing else", () => {
    const out = join(dir, "x", "out");
    writeFolderAtomically(out, files("1"));
    expect(readFileSync(join(out, "sub", "b.txt"), "utf8")).toBe("1");
    expect(readdirSync(join(dir, "x"))).toEqual(["out"]);
  });

  test("an empty folder counts as none; a full one needs force and is then replaced whole", () => {
    const out = join(dir, "out");
    mkdirSync(out);
    writeFolderAtomically(out, files("1"));
    expect(errorOf(() => writeFolderAtomically(out, files("2")), "E110").hint).toMatch(/--force/);
    expect(readFileSync(join(out, "a.txt"), "utf8")).toBe("1");
    mkdirSync(join(out, "untuned"));
    writeFolderAtomically(out, files("2"), { force: true, replaceable: ["untuned"] });
    expect(readdirSync(out).sort()).toEqual(["a.txt", "sub"]);
    expect(readFileSync(join(out, "a.txt"), "utf8")).toBe("2");
    expect(readdirSync(dir)).toEqual(["out"]);
  });

  test("a folder with other things in it, or a file, is not replaced even with force", () => {
    const out = join(dir, "out");
    mkdirSync(out);
    writeFileSync(join(out, "thesis.txt"), "years of work");
    expect(errorOf(() => writeFolderAtomically(out, files("1"), { force: true }), "E110").message).toContain("thesis.txt");
    expect(readdirSync(out)).toEqual(["thesis.txt"]);
    errorOf(() => writeFolderAtomically(join(out, "thesis.txt"), files("1"), { force: true }), "E110");
  });

  test("a failure leaves the old folder and no trace", () => {
    const out = join(dir, "out");
    expect(() =>
      writeFolderAtomically(
        out,
        new Map([
          ["a.txt", "1"],
          ["b", failing as never],
        ]),
      ),
    ).toThrow();
    expect(readdirSync(dir)).toEqual([]);
    writeFolderAtomically(out, files("1"));
    expect(() =>
      writeFolderAtomically(
        out,
        new Map([
          ["a.txt", "2"],
          ["sub", failing as never],
        ]),
        { force: true },
      ),
    ).toThrow();
    expect(readFileSync(join(out, "a.txt"), "utf8")).toBe("1");
    expect(readdirSync(dir)).toEqual(["out"]);
  });

  test("go through a symbolic link to a folder", () => {
    mkdirSync(join(dir, "real"));
    symlinkSync("real", join(dir, "link"));
    writeFolderAtomically(join(dir, "link"), files("1"));
    expect(readlinkSync(join(dir, "link"))).toBe("real");
    expect(existsSync(join(dir, "real", "a.txt"))).toBe(true);
  });
});
