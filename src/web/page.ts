/** The page: takes files, shows what the worker tells, offers the trained model. All computing is the worker's. */

import uPlot from "uplot";
import { OhemgenError } from "../support/errors.ts";
import { acceptDrops, ignoreOtherDrops } from "./drop.ts";
import { heldOut, pairedFiles, split } from "./file-pairs.ts";
import type { FilePair, FromWorker, Prediction, TrainingRequest } from "./protocol.ts";

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const show = (id: string, text: string): void => {
  element(id).textContent = text;
};
const digits = (value: number | null): string => (value === null || !Number.isFinite(value) ? "–" : value.toFixed(4));

let worker: Worker | undefined;
let steps = 0;
let losses: [number[], number[]] = [[], []];
let plot: uPlot | undefined;
let before: readonly Prediction[] = [];
let colours: readonly (readonly [number, number, number])[] = [];

function start(request: TrainingRequest): void {
  worker?.terminate();
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => receive(data);
  worker.onerror = ({ message }) => failed(message || "the worker did not start");
  steps = request.steps;
  losses = [[], []];
  before = [];
  element<HTMLAnchorElement>("download").hidden = true;
  for (const id of ["step", "loss", "miou", "speed"]) show(id, "–");
  element("run").hidden = false;
  running(true);
  worker.postMessage({ kind: "start", request });
}

function running(on: boolean): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>(".start button")) button.disabled = on;
  element<HTMLButtonElement>("stop").disabled = !on;
}

function failed(text: string): void {
  show("status", text);
  running(false);
}

function receive(message: FromWorker): void {
  if (message.kind === "stage") show("status", `${message.text} …`);
  else if (message.kind === "failed") failed(`${message.message} [${message.code}] ${message.hint ?? ""}`);
  else if (message.kind === "ready") {
    show("status", "Training …");
    show("about", `${whatIsTrained(message)} ${whatIsMeasured(message)}`);
    document.body.dataset["backend"] = message.backend;
    colours = message.classColours;
    element("legend").replaceChildren(...message.classNames.map((name, i) => legendItem(name, colours[i] ?? [0, 0, 0])));
  } else if (message.kind === "step") step(message);
  else if (message.kind === "validation") {
    show("miou", digits(message.scores.miou));
    if (before.length === 0) before = message.predictions;
    element("samples").replaceChildren(...message.predictions.map((sample, i) => sampleCard(sample, before[i] ?? sample)));
  } else if (message.kind === "finished") {
    const link = element<HTMLAnchorElement>("download");
    link.href = URL.createObjectURL(message.model);
    link.download = "trained.onnx";
    link.hidden = false;
    show("status", `${message.stopped ? "Stopped" : "Done"} after ${message.steps} steps.`);
    running(false);
  }
}

type Ready = Extract<FromWorker, { kind: "ready" }>;

function whatIsTrained({ backend, threads, trained, images, batch, size }: Ready): string {
  const where = backend === "webgpu" ? "WebGPU" : `WebAssembly (threads: ${threads})`;
  return `${trained.toLocaleString("en")} numbers are trained on ${images} pictures in crops of ${size.join(" × ")}, ${batch} a step, on ${where}.`;
}

function whatIsMeasured({ validationImages }: Ready): string {
  return validationImages === null
    ? `With fewer than ${heldOut} pictures none is kept apart: mIoU is that of the training pictures and says nothing about others.`
    : `mIoU is measured on ${validationImages} more, which are not trained on.`;
}

function step({ step: reached, loss, imagesPerSecond }: Extract<FromWorker, { kind: "step" }>): void {
  show("step", `${reached}/${steps}`);
  show("loss", digits(loss));
  show("speed", imagesPerSecond.toFixed(1));
  element<HTMLProgressElement>("progress").value = reached / steps;
  losses[0].push(reached);
  losses[1].push(loss);
  element("chart").dataset["losses"] = losses[1].join(",");
  draw();
}

function draw(): void {
  const place = element("chart");
  plot?.destroy();
  const style = getComputedStyle(document.documentElement);
  const axis = { stroke: style.getPropertyValue("--muted"), grid: { stroke: style.getPropertyValue("--line"), width: 1 } };
  const series = [{ label: "step" }, { label: "loss", stroke: style.getPropertyValue("--one"), width: 2 }];
  plot = new uPlot(
    { width: place.clientWidth, height: 240, scales: { x: { time: false } }, axes: [axis, axis], legend: { show: false }, series },
    losses,
    place,
  );
}

function legendItem(name: string, [r, g, b]: readonly [number, number, number]): HTMLLIElement {
  const item = document.createElement("li");
  const swatch = document.createElement("i");
  swatch.style.background = `rgb(${r} ${g} ${b})`;
  item.append(swatch, name);
  return item;
}

function sampleCard(now: Prediction, first: Prediction): HTMLElement {
  const card = document.createElement("div");
  card.className = "sample";
  const mask = (labels: Uint8Array) => (i: number) => colours[labels[i] ?? 255] ?? [90, 90, 90];
  const rgb = (i: number) => [now.picture[i * 3] ?? 0, now.picture[i * 3 + 1] ?? 0, now.picture[i * 3 + 2] ?? 0] as const;
  card.append(
    tile("Picture", now, rgb),
    tile("Label", now, mask(now.label)),
    tile("Before", now, mask(first.prediction)),
    tile("Now", now, mask(now.prediction)),
  );
  return card;
}

function tile(caption: string, { name, width, height }: Prediction, colour: (i: number) => readonly [number, number, number]): HTMLElement {
  const figure = document.createElement("figure");
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${caption} of ${name}`);
  const pixels = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) pixels.data.set([...colour(i), 255], i * 4);
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
  const text = document.createElement("figcaption");
  text.textContent = caption;
  figure.append(canvas, text);
  return figure;
}

async function demoRequest(): Promise<TrainingRequest> {
  const get = async (path: string): Promise<Blob> => (await fetch(`demo/${path}`)).blob();
  const list = (await (await fetch("demo.json")).json()) as { training: string[]; validation: string[]; classNames: string[] };
  const pairs = (names: string[], images: string, masks: string): Promise<FilePair[]> =>
    Promise.all(names.map(async (name) => ({ stem: name, image: await get(`${images}/${name}`), mask: await get(`${masks}/${name}`) })));
  const query = new URLSearchParams(location.search);
  return {
    ...common("demo"),
    model: await get("model.onnx"),
    training: await pairs(list.training, "images", "masks"),
    validation: await pairs(list.validation, "val_images", "val_masks"),
    classNames: list.classNames,
    backend: (query.get("backend") ?? "auto") as TrainingRequest["backend"],
    steps: Number(query.get("steps") ?? 60),
    rate: 0.02,
    batch: Number(query.get("batch") ?? 8),
    scale: [0.75, 1.5],
    color: 0,
    crop: null,
    validateEvery: 15,
  };
}

function common(modelName: string): Pick<TrainingRequest, "modelName" | "flip" | "inputShapes" | "resetHead"> {
  return { modelName, flip: true, inputShapes: null, resetHead: null };
}

function ownRequest(): TrainingRequest {
  const files = (id: string): File[] => [...(element<HTMLInputElement>(id).files ?? [])];
  const number = (id: string): number => Number(element<HTMLInputElement>(id).value);
  const [model] = files("model");
  if (model === undefined) throw new OhemgenError("there is no model", { code: "E100", hint: "Choose an .onnx file." });
  const { training, validation } = split(pairedFiles(files("images"), files("masks")));
  const backend = element<HTMLSelectElement>("backend").value as TrainingRequest["backend"];
  const length = { steps: number("steps"), rate: number("rate"), batch: number("batch"), validateEvery: Math.ceil(number("steps") / 5) };
  const crop = askedCrop();
  return { ...common(model.name), model, training, validation, classNames: null, backend, ...length, crop, scale: [0.5, 2], color: 0.2 };
}

function askedCrop(): TrainingRequest["crop"] {
  const [height = "", width = ""] = ["crop-height", "crop-width"].map((id) => element<HTMLInputElement>(id).value);
  if (height === "" && width === "") return null;
  if (height === "" || width === "") throw new OhemgenError("a crop has a height and a width", { code: "E002", hint: "Fill in both, or neither." });
  return [Number(height), Number(width)];
}

async function attempt(request: () => TrainingRequest | Promise<TrainingRequest>): Promise<void> {
  try {
    start(await request());
  } catch (error) {
    failed(error instanceof OhemgenError ? `${error.message} [${error.code}] ${error.hint ?? ""}` : String(error));
  }
}

element("demo").addEventListener("click", () => attempt(demoRequest));
element("own").addEventListener("submit", (event) => {
  event.preventDefault();
  void attempt(ownRequest);
});
element("stop").addEventListener("click", () => worker?.postMessage({ kind: "stop" }));
for (const id of ["model", "images", "masks"]) {
  const field = element<HTMLInputElement>(id);
  acceptDrops(field, () => failed(`Nothing that was dropped fits there: ${field.accept} is wanted.`));
}
ignoreOtherDrops();
addEventListener("resize", () => losses[0].length > 0 && draw());
