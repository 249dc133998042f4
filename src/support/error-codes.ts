/**
 * Every error a user can meet, by its code: what it means and what to do. The page examples/guides/troubleshooting.md
 * is made from this, so a code that is not here does not compile.
 */

interface CodeEntry {
  /** What went wrong, as a heading. */
  readonly means: string;
  /** Causes and cures, in sentences. */
  readonly help: string;
}

export const errorCodes = {
  // Usage
  E002: {
    means: "Wrong usage: an option, a value or a configuration file",
    help: "The message names the option. `ohemgen COMMAND --help` lists all of them with what they take; a misspelt option gets a suggestion. Lists such as `--freeze A B` take everything up to the next option, so the model goes before them. A `--config` file is checked against graphs/attach.schema.json.",
  },
  E003: {
    means: "The operating system refused",
    help: "A path that is not there, a permission, a full disk: the message says which. Nothing half-written is left behind.",
  },
  E010: {
    means: "A setting of the loss is impossible",
    help: "The message names the setting and what it takes. Settings are explained in the help of `ohemgen attach` and `ohemgen emit`.",
  },
  E011: { means: "Logits of an unsuitable type or rank", help: "The loss takes float32 logits `[N,C,h,w]`." },
  // Files
  E100: {
    means: "A file that is needed is not there or cannot be read",
    help: "Check the path. If the source model has moved since `ohemgen attach`, say where it is with `--model`.",
  },
  E101: {
    means: "Not an ONNX model",
    help: "The file is something else (a Git LFS pointer, a PyTorch checkpoint, a text), is cut off, or is damaged. Export or download it again.",
  },
  E102: { means: "The model is not valid ONNX", help: "Check it with `onnx.checker.check_model(path, full_check=True)` and export it again." },
  E103: {
    means: "The model's weights are in another file that is missing",
    help: "Keep the data files beside the model, under the names they were written with.",
  },
  E104: {
    means: "The place of external data leaves the model's folder",
    help: "For safety a model may only name files beside itself: no `..`, no absolute path, no symbolic link out. Save the model again with its data in one folder.",
  },
  E105: {
    means: "A checkpoint or state file is damaged",
    help: "Take another checkpoint: a run keeps `last.safetensors`, `previous.safetensors` and `best.safetensors`.",
  },
  E106: {
    means: "Weights do not fit the model",
    help: "They belong to another model or another `attach`. Use the model that the training folder was made from.",
  },
  E110: {
    means: "The output exists already",
    help: "Nothing is overwritten unasked. Choose another output, or replace it with `--force`; go on with a run by `--resume`.",
  },
  E111: { means: "The output is an input", help: "The source is never written to. Choose another name for the output." },
  E112: {
    means: "The output cannot be written",
    help: "Check the path, its permissions and the space on the disk. What was there before is untouched; a run can be taken up with `--resume`.",
  },
  E113: {
    means: "Not a training folder, or not a run",
    help: "Make the folder with `ohemgen attach model.onnx`, and give its path, not that of a file in it.",
  },
  E114: {
    means: "The source model is not the one the folder was made from",
    help: "Its content has changed since `ohemgen attach`. Give the original with `--model`, or attach again.",
  },
  E115: {
    means: "A training folder without the graphs that are run here",
    help: "It was made with `--target ort-training`, for loops on ONNX Runtime's on-device training API. `--target all` writes both kinds.",
  },
  // Models
  E120: {
    means: "Sizes in the model do not fit together",
    help: "Often a size fixed with `--input-shape` against a size that is written down inside the model; the message names the node.",
  },
  E130: { means: "A constant of a kind that is not supported", help: "Strings and sparse constants cannot lie on the way to the logits." },
  E131: {
    means: "Something is not known before the graph runs",
    help: "Control flow, or a form of an operator that depends on sizes. Fix the sizes with `--input-shape`, or export without control flow (`torch.jit.trace` or `torch.export` instead of `torch.jit.script`).",
  },
  E132: { means: "The opset is not supported", help: "Export the model again with an opset from 11 to 18, or convert it with `onnx.version_converter`." },
  E133: {
    means: "The model needs a newer opset than the training graphs have",
    help: "Training graphs are opset 18, because every runtime has kernels for it. Export the model with opset 18.",
  },
  E201: {
    means: "Operators without a gradient",
    help: "All of them are listed with their nodes. Freeze the weights below them (`--freeze 'encoder.*'`), so that no gradient has to pass. `ohemgen ops` lists what is supported.",
  },
  E202: {
    means: "A mode of an operator without a gradient",
    help: "The message names the mode. Export the layer in another form, or freeze what lies below it.",
  },
  // What is trained, and where
  E210: {
    means: "No logits found, or several candidates",
    help: "Name the tensor with `--logits`; train further ones along with `--aux NAME`. `ohemgen inspect` shows what was found.",
  },
  E211: {
    means: "No tensor of that name",
    help: "The message lists near names; `ohemgen inspect model.onnx --json` lists inputs and outputs, and viewers such as Netron show inner tensors.",
  },
  E212: {
    means: "A pattern matches nothing",
    help: "Patterns match whole names: `*` any run of characters, `?` one. Quote them, or the shell replaces them. `ohemgen inspect model.onnx --json` lists the names.",
  },
  E213: { means: "Nothing is left to train", help: "Loosen `--train` and `--freeze`, or check that `--logits` depends on the weights." },
  E214: {
    means: "The logits have an unsuitable type or shape",
    help: "Logits are float32 `[N,C,h,w]` with a fixed number of classes. Name the tensor before softmax or argmax with `--logits`.",
  },
  E215: { means: "Heads of different sizes", help: "Labels of one size serve all heads: use `--label-size full` or `H,W`." },
  E216: { means: "Running statistics that are computed", help: "They cannot be updated: use `--bn frozen`." },
  E217: {
    means: "Another number of classes than expected",
    help: "`--classes` and `--class-names` are checked against the model. For other classes than the model's use `--reset-head N`.",
  },
  E218: {
    means: "No picture goes in",
    help: "The logits must depend on an input `[N,C,H,W]`. Give its shape with `--input-shape NAME=N,C,H,W` if the model leaves it open.",
  },
  E219: {
    means: "An input has a reserved name",
    help: "Rename the input when exporting; names like `labels`, `params` or `step` are those of the training graphs.",
  },
  E230: {
    means: "`--reset-head` cannot follow the classes",
    help: "Between the logits and the last layer something mixes, scales or counts the classes; the message names the node. Name logits before it with `--logits`, or export the model without it.",
  },
  E240: { means: "A gradient that cannot be taken", help: "`ohemgen grad` needs float tensors that depend on each other; the message says which is not." },
  E241: {
    means: "An input that a gradient check cannot feed",
    help: "`ohemgen check` feeds pictures of random numbers; other inputs have to be fixed in the model.",
  },
  E250: {
    means: "A setting that target ort-training cannot express",
    help: "The optimizers of ONNX Runtime's on-device training API have fewer settings than ohemgen's; the message names the setting and why. Leave it out, or train with `--target stock`.",
  },
  // Running graphs
  E401: {
    means: "A package that is needed is not installed",
    help: "The runtime and the image library are optional: `npm install onnxruntime-node` or `npm install sharp`, as the message says.",
  },
  E402: {
    means: "The runtime cannot load a graph",
    help: "With `--ep cuda` or `--ep webgpu`, check the driver first. `ohemgen check model.onnx --ep cuda` lists nodes the provider would not run.",
  },
  E403: {
    means: "The runtime failed while running a graph",
    help: "Mostly memory: use a smaller `--batch`, `--crop` or `--input-shape`. The message is the runtime's own.",
  },
  // Data
  E410: { means: "No images", help: "Images (PNG, JPEG or WebP) are expected directly in the folder." },
  E411: { means: "Images without masks, or names that are there twice", help: "A mask has the name of its image: `img/001.jpg` and `msk/001.png`." },
  E412: {
    means: "An image or mask that cannot be read",
    help: "Masks are palette or greyscale PNG whose value is the class; masks in colours need `--label-map`.",
  },
  E413: { means: "Image and mask differ in size", help: "Scale masks without smoothing (nearest neighbour)." },
  E414: {
    means: "A label that is no class",
    help: "Labels go from 0 to the number of classes less one. Pixels to leave out have the ignore index (255, `--ignore-index`); other labels become classes with `--label-map`.",
  },
  E415: {
    means: "Too many samples cannot be used",
    help: "A few bad files are left out with a warning; this many point at the folder. The message shows the first.",
  },
  E416: {
    means: "Graphs or a model that pictures cannot be fed to",
    help: "One float32 input `[N,C,H,W]` with 1 or 3 channels is needed for `train`, `eval` and `predict`; a loop of your own can feed anything.",
  },
  E417: {
    means: "A label map that is none, or that does not fit",
    help: "A label map is JSON, from values or colours to classes, or one of the built-in names; `ohemgen train --help`.",
  },
  // Training
  E420: { means: "A checkpoint of other graphs", help: "Its state has another layout. Use it with the training folder it was made with." },
  E421: {
    means: "The loss is not finite any more",
    help: "Lower `--lr`, lengthen `--warmup`, or attach with `--clip-norm 1`. The state before the trouble is saved.",
  },
  E422: { means: "The run is in use", help: "Another process trains in this folder. If it is gone, starting again takes the folder over by itself." },
  E423: {
    means: "A setting that a run cannot change when it is taken up",
    help: "Going on bit for bit needs the same settings. Leave the option out, or begin another run with `-o`.",
  },
  E430: { means: "The demo did not come out as it should", help: "Please report it with the versions that `ohemgen --version` prints." },
  E440: { means: "No moving average in the state", help: "Keep one while training: `ohemgen attach --ema 0.999`, then `ohemgen export --ema`." },
  E450: {
    means: "A folder that cannot be tuned",
    help: "`ohemgen tune` takes folders that this version attached, with fixed sizes: attach again with `--input-shape`.",
  },
  // Faults
  E700: { means: "A fault of ohemgen", help: "Please report it with the command, the versions that `ohemgen --version` prints and, if you can, the model." },
  E701: { means: "An unexpected error", help: "Please report it as above; the stack is part of the message." },
} as const satisfies Readonly<Record<string, CodeEntry>>;

export type ErrorCode = keyof typeof errorCodes;
