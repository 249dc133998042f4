/** The report and the events of a real run, interrupted once: as a browser and TensorBoard see them. */

import { cpSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readJournal, type StepEvent } from "../../src/train/journal.ts";
import { browserTest, openBrowser } from "../browser.ts";
import { python, pythonTest } from "../python.ts";
import { demo, demoModel, type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeAll(() => {
  place = workplace();
  for (const [from, to] of [
    ["images", "img"],
    ["masks", "msk"],
  ] as const) {
    mkdirSync(place.path(to));
    for (const stem of ["street-01", "street-02"]) cpSync(join(demo, from, `${stem}.png`), place.path(`${to}/${stem}.png`));
  }
  expect(place.run("attach", demoModel, "-o", "t", "--class-names", join(demo, "classes.txt")).code).toBe(0);
  const data = ["--images", "img", "--masks", "msk", "--val-images", "img", "--val-masks", "msk"];
  const train = (steps: number) =>
    place.run("train", "t", ...data, "--steps", `${steps}`, "--batch", "1", "--val-every", "2", "--schedule", "constant", "-o", "run", "--resume");
  for (const steps of [3, 5]) {
    const { code, stderr } = train(steps);
    expect(code, stderr).toBe(0);
  }
});
afterAll(() => place.remove());

const steps = (): StepEvent[] => readJournal(readFileSync(place.path("run/metrics.jsonl"), "utf8")).filter((event) => event.event === "step");

describe("a run that was taken up", () => {
  browserTest("its report is one page with the whole run, without an error", async () => {
    const browser = await openBrowser();
    try {
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on("console", (message) => complaints.push(message.text()));
      page.on("pageerror", (error) => complaints.push(error.message));
      await page.goto(pathToFileURL(place.path("run/report.html")).href);
      expect(await page.title()).toBe("model.onnx: training report");
      expect(await page.locator("canvas").count()).toBe(4);
      expect(await page.locator(".cards dd").allInnerTexts()).toEqual(expect.arrayContaining(["5 of 5"]));
      expect(await page.locator(".sample img").count()).toBe(6);
      const classes = await page.getByRole("region", { name: "Scores per class" }).getByRole("rowheader").allInnerTexts();
      expect(classes.map((text) => text.trim())).toEqual(["sky", "building", "vegetation", "road", "vehicle", "person", "Mean"]);
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
    }
  });

  test("what is in the way of the report does not end the run", () => {
    mkdirSync(place.path("blocked/report.html"), { recursive: true });
    const { code, stderr } = place.run("train", "t", "--images", "img", "--masks", "msk", "--steps", "2", "--batch", "1", "-o", "blocked", "--resume");
    expect(code, stderr).toBe(0);
    expect(stderr.match(/report\.html is not written/g)).toHaveLength(1);
    expect(readdirSync(place.path("blocked"))).toContain("best.onnx");
  });

  pythonTest("TensorBoard sees each step once, with the numbers of metrics.jsonl", () => {
    expect(readdirSync(place.path("run")).filter((name) => name.startsWith("events."))).toHaveLength(2);
    const scalars = JSON.parse(python("read_events.py", [place.path("run")])) as Record<string, [number, number, number][]>;
    expect(scalars["train/loss"]?.map(([step]) => step)).toEqual([1, 2, 3, 4, 5]);
    expect(scalars["train/loss"]?.map(([, value]) => value)).toEqual(steps().map(({ loss }) => Math.fround(loss as number)));
    expect(scalars["val/miou"]?.map(([step]) => step)).toEqual([2, 3, 4, 5]);
  });
});
