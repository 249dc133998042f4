/** `ohemgen predict`: classes of every pixel of a folder of images, by plain inference. */

import { defineCommand, type Result } from "../command.ts";
import { plural } from "../table.ts";

export const predictCommand = defineCommand({
  name: "predict",
  summary: "masks and overlays for a folder of images",
  argument: { name: "model", describe: "a training folder, or a model such as best.onnx" },
  options: {
    images: { kind: "text", required: true, describe: "folder of images: PNG, JPEG or WebP" },
    out: { kind: "text", short: "o", required: true, describe: "folder to write: masks/ and overlays/" },
    checkpoint: { kind: "text", describe: "checkpoint of a training folder", preset: "the initial state" },
    force: { kind: "flag", describe: "replace an existing folder" },
    mean: { kind: "numbers", describe: "mean per channel, of pixels from 0 to 1", preset: "the manifest's or ImageNet's" },
    std: { kind: "numbers", describe: "standard deviation per channel", preset: "the manifest's or ImageNet's" },
    "channel-order": { kind: "text", choices: ["rgb", "bgr"], describe: "order of the channels", preset: "the manifest's or rgb" },
    ep: { kind: "text", choices: ["cpu", "cuda", "webgpu"], describe: "what runs the model", preset: "cpu" },
    threads: { kind: "integer", min: 1, describe: "threads of the runtime", preset: "all cores" },
  },
  examples: [
    ["ohemgen predict run/best.onnx --images img -o out", "with an exported model"],
    ["ohemgen predict model.train --checkpoint run/best.safetensors --images img -o out", "with a checkpoint"],
  ],
  async run(values, model, output): Promise<Result> {
    const { predictFolder } = await import("../prediction.ts");
    const images = await predictFolder(model, { ...values, force: values.force ?? false, channelOrder: values["channel-order"], provider: values.ep }, output);
    return { document: { out: values.out, images }, text: `${plural(images, "image")}: ${values.out}/masks and ${values.out}/overlays` };
  },
});
