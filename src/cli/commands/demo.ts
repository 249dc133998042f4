/** `ohemgen demo`: the whole way on bundled files. */

import { defineCommand, type Result } from "../command.ts";
import { decimals, table } from "../table.ts";

export const demoCommand = defineCommand({
  name: "demo",
  summary: "the whole way on a bundled model and bundled scenes, in about a minute",
  options: {
    out: { kind: "text", short: "o", describe: "folder for the results; those of an earlier demo are replaced", preset: "ohemgen-demo" },
    steps: { kind: "integer", min: 1, describe: "updates", preset: "120" },
  },
  examples: [["ohemgen demo", "attach, train, evaluate, export, check"]],
  async run(values, _argument, output): Promise<Result> {
    const { runDemo } = await import("../demo.ts");
    const summary = await runDemo(values.out ?? "ohemgen-demo", values.steps ?? 120, output);
    const { before, after, exported, files } = summary;
    const rows = [
      ["", "before", "after"],
      ["mIoU", decimals(before.miou), decimals(after.miou)],
      ["pixel accuracy", decimals(before.pixel_accuracy), decimals(after.pixel_accuracy)],
      ["loss", decimals(before.loss), decimals(after.loss)],
      ...after.classes.map(({ index, name, iou }) => [`IoU ${name ?? index}`, decimals(before.classes[index]?.iou ?? null), decimals(iou)]),
    ];
    const check = `The exported model in plain inference: mIoU ${decimals(exported.miou)}.`;
    const list = table(Object.entries(files).map(([what, path]) => [what, path]));
    return { document: summary, text: `\n${table(rows)}\n\n${check}\n\n${list}` };
  },
});
