/** Help, versions and wrong usage: exit code 2, one clear error on stderr, nothing on stdout. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { editDistance } from "../../src/cli/usage.ts";
import { demoModel, type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeAll(() => {
  place = workplace();
});
afterAll(() => place.remove());

describe("help and versions", () => {
  test("--help lists the commands on stdout", () => {
    const { code, stdout, stderr } = place.run("--help");
    expect(code).toBe(0);
    for (const name of ["attach", "train", "eval", "predict", "export", "emit", "demo"]) expect(stdout).toMatch(new RegExp(`ohemgen ${name}\\b`));
    expect(stderr).toBe("");
  });

  test("a command has help of its own, with examples", () => {
    const { code, stdout } = place.run("attach", "--help");
    expect(code).toBe(0);
    expect(stdout).toMatch(/--min-kept/);
    expect(stdout).toMatch(/Examples:/);
  });

  test("no command: the help on stderr, exit code 2", () => {
    const { code, stdout, stderr } = place.run();
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/Commands:/);
  });

  test("--version names the runtime too", () => {
    const { code, stdout } = place.run("--version");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ohemgen \d+\.\d+\.\d+\nnode \d+.*\nonnxruntime-node /);
    expect(JSON.parse(place.run("--version", "--json").stdout)).toMatchObject({ ohemgen: expect.any(String), node: process.versions.node });
  });

  test("a completion script", () => {
    expect(place.run("completion").stdout).toMatch(/ohemgen/);
    expect(place.run("--get-yargs-completions", "ohemgen", "att").stdout).toMatch(/^attach$/m);
  });
});

const wrong: readonly (readonly [what: string, args: readonly string[], message: RegExp])[] = [
  ["unknown command", ["atach", "x"], /unknown command "atach".*\[E002\][\s\S]*Did you mean attach\?/],
  ["unknown option", ["attach", demoModel, "--thresold", "0.5"], /unknown option --thresold.*[\s\S]*Did you mean --threshold\?/],
  ["two models", ["attach", demoModel, "other"], /attach does not take "other"/],
  ["no model", ["attach"], /model is missing/],
  ["model swallowed by a list", ["attach", "--freeze", "a", demoModel], /model is missing[\s\S]*before options that take several values/],
  ["no value", ["attach", demoModel, "-o"], /-o has no value/],
  ["empty value", ["attach", demoModel, "--optimizer="], /--optimizer has no value/],
  ["option twice", ["attach", demoModel, "--threshold", "0.1", "--threshold", "0.2"], /--threshold is given 2 times/],
  ["no number", ["attach", demoModel, "--threshold", "high"], /--threshold cannot be "high"[\s\S]*A number/],
  ["hexadecimal", ["attach", demoModel, "--threshold", "0x1"], /--threshold cannot be "0x1"/],
  ["fraction for a whole number", ["attach", demoModel, "--lovasz-bins", "1.5"], /--lovasz-bins cannot be "1.5"[\s\S]*whole number/],
  ["unknown choice", ["attach", demoModel, "--optimizer", "rmsprop"], /--optimizer cannot be "rmsprop"[\s\S]*sgd, adamw/],
  ["unknown preset", ["attach", demoModel, "--preset", "none"], /--preset cannot be "none"[\s\S]*bisenet/],
  ["min-kept", ["attach", demoModel, "--min-kept", "1/0"], /min-kept|fraction/],
  ["value out of range", ["attach", demoModel, "--label-smoothing", "2"], /labelSmoothing is "?2/],
  ["input shape", ["attach", demoModel, "--input-shape", "image=1,x y"], /--input-shape cannot be/],
  ["input shape of no input", ["attach", demoModel, "--input-shape", "data=1,3,96,160"], /no input data/],
  ["lr-mult without factor", ["attach", demoModel, "--lr-mult", "head"], /PATTERN=FACTOR/],
  ["pattern that matches nothing", ["attach", demoModel, "--freeze", "nothing.*"], /nothing\.\*/],
  ["setting of the other optimizer", ["attach", demoModel, "--beta1", "0.9"], /beta1 is not a setting of sgd/],
  ["list of classes", ["attach", demoModel, "--lovasz-classes", "0,many"], /--lovasz-classes cannot be "0,many"/],
  ["missing required option", ["export", "folder"], /--out is missing/],
  ["ending of an export", ["export", "folder", "-o", "x.pt"], /must be \.onnx or \.safetensors/],
  ["graph that is not known", ["emit", "dice", "-o", "x.onnx"], /kind cannot be "dice"/],
  ["steps and epochs", ["train", "d", "--images", "i", "--masks", "m", "--steps", "1", "--epochs", "1"], /exclude each other/],
  ["half a validation", ["train", "d", "--images", "i", "--masks", "m", "--val-images", "v"], /belong together/],
  ["scale", ["train", "d", "--images", "i", "--masks", "m", "--scale", "1"], /--scale cannot be "1"/],
];

describe("wrong usage", () => {
  test.each(wrong)("%s", (_, args, message) => {
    const before = place.names();
    const { code, stdout, stderr } = place.run(...args);
    expect(stderr).toMatch(message);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^ohemgen: .*\[E\d{3}\]\n/);
    expect(stderr).not.toMatch(/ at .*\.js:/);
    expect(place.names()).toEqual(before);
  });

  test("as JSON on stdout, nothing on stderr", () => {
    const { code, stdout, stderr } = place.run("attach", demoModel, "--optimizer", "rmsprop", "--json");
    expect([code, stderr]).toEqual([2, ""]);
    expect(JSON.parse(stdout)).toEqual({
      error: { code: "E002", message: '--optimizer cannot be "rmsprop"', where: null, hint: "The choices are: sgd, adamw." },
    });
  });
});

test("edit distance", () => {
  expect(editDistance("kitten", "sitting")).toBe(3);
  expect(editDistance("", "abc")).toBe(3);
  expect(editDistance("same", "same")).toBe(0);
});
