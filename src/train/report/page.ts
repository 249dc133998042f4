/**
 * `report.html`: a run on one page, for people. Self-contained: its policy forbids everything that is not in the file,
 * so it can be mailed, and opened without a network.
 */

import type { Manifest } from "../../attach/manifest.ts";
import { elementCount } from "../../ir/dims.ts";
import { chartFigures, chartScript, chartStyle, chartsOf } from "./charts.ts";
import type { RunHistory } from "./history.ts";
import { count, type Html, html, percentage, plural, raw, score } from "./html.ts";
import type { SamplePicture } from "./pictures.ts";
import { type ClassLabel, classTable, confusionTable, type Facts, factSections, swatch, validationTable } from "./sections.ts";
import { style } from "./style.ts";

export interface ReportData {
  readonly manifest: Manifest;
  /** `config.json` of the run. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly classes: readonly ClassLabel[];
  readonly history: RunHistory;
  /** After the last validation; empty without one. */
  readonly pictures: readonly SamplePicture[];
}

const states = {
  done: ["done", "finished"],
  patience: ["done", "ended early: no better mIoU for a while"],
  interrupted: ["stopped", "interrupted; --resume goes on"],
  failed: ["stopped", "failed; --resume goes on from the last checkpoint"],
  running: ["running", "running, or ended without saying so"],
} as const;

export function reportPage(data: ReportData): string {
  const { manifest, classes, history, pictures } = data;
  const charts = chartsOf(history);
  const { best, validations } = history;
  const [first] = validations;
  const [kind, words] = states[history.end?.reason ?? "running"];
  const name = manifest.source.path.split("/").at(-1) ?? "model";
  const body = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>${name}: training report</title><style>${chartStyle()}${raw(style)}</style></head><body>
<header><h1>${name}</h1><p class="muted">Training report <span class="state ${kind}">${words}</span></p>${cards(data)}</header>
<main>
<h2>Curves</h2><noscript><p>The curves are drawn by a script in this page; the numbers are in the tables below.</p></noscript>
<div class="charts">${chartFigures(charts)}</div>${validations.length > 0 && validationTable(validations)}
${best !== undefined && first !== undefined && html`<h2>Classes</h2>${classTable(classes, best, first)}<h2>Confusion</h2>${confusionTable(classes, best)}`}
${pictures.length > 0 && samples(pictures, classes)}
<h2>What was trained, and on what</h2>${factSections(facts(data))}
<details><summary>Configuration of the run</summary><pre>${JSON.stringify(data.config, null, 2)}</pre></details>
<details><summary>Options of the training graphs</summary><pre>${JSON.stringify(manifest.options, null, 2)}</pre></details>
</main><footer>Written by ohemgen ${manifest.versions.ohemgen}. Curves: uPlot.</footer>
${chartScript(charts)}</body></html>
`;
  return body.html;
}

/** Between the first start and the end, whatever happened in between. */
function elapsed({ starts, end }: RunHistory): string {
  const [first] = starts;
  if (first === undefined || end === undefined) return "–";
  const minutes = (Date.parse(end.time) - Date.parse(first.time)) / 60_000;
  if (minutes < 1) return `${Math.round(minutes * 60)} s`;
  return minutes < 90 ? `${minutes.toFixed(1)} min` : `${(minutes / 60).toFixed(1)} h`;
}

function cards({ history }: ReportData): Html {
  const { best, validations } = history;
  const steps = history.starts.at(-1)?.steps ?? history.lastStep;
  const speed = history.mean("images_per_second");
  const card = (name: string, value: string, note = ""): Html =>
    html`<div><dt>${name}</dt><dd>${value}${note !== "" && html`<small>${note}</small>`}</dd></div>`;
  return html`<dl class="cards">
${card("Best mIoU", score(best?.miou), best === undefined ? "no validation" : `step ${count(best.step)}; ${score(validations[0]?.miou)} at step ${count(validations[0]?.step ?? 0)}`)}
${card("Pixel accuracy", score(best?.pixel_accuracy), best === undefined ? "" : "of the best")}
${card("Steps", `${count(history.lastStep)} of ${count(steps)}`, history.skipped > 0 ? `${history.skipped} not finite, left out` : "")}
${card("Time", elapsed(history), speed === null ? "" : `${speed.toFixed(1)} images/s, ${percentage(history.mean("waited"), 0)} waiting`)}
</dl>`;
}

function samples(pictures: readonly SamplePicture[], classes: readonly ClassLabel[]): Html {
  const tile = (kind: string, caption: string, source: string, alt: string, { width, height }: SamplePicture): Html =>
    html`<figure class="${kind}"><img src="${source}" width="${width}" height="${height}" alt="${alt}"><figcaption>${caption}</figcaption></figure>`;
  return html`<h2>Pictures</h2><p class="muted">From the validation images, after step ${count(pictures[0]?.step ?? 0)}. Pixels without a label are grey.</p>
<ul class="legend">${classes.map(({ name, colour }) => html`<li>${swatch(colour)}${name}</li>`)}</ul>
<div class="samples">${pictures.map(
    (
      sample,
    ) => html`<div class="sample"><h3>${sample.name} <span class="muted">${percentage(sample.accuracy)} of the labelled pixels right</span></h3><div class="tiles">
${tile("", "Picture", sample.picture, `Picture ${sample.name}`, sample)}
${tile("mask", "Label", sample.label, `Label of ${sample.name}`, sample)}
${tile("mask", "Prediction", sample.prediction, `Prediction for ${sample.name}`, sample)}</div></div>`,
  )}</div>`;
}

/** `{a: {b: 1}, c: [1, 2]}` as `a b: 1`, `c: 1, 2`. */
function flat(value: unknown, name = ""): Facts {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value))
    return value.length === 0 ? [] : [[name, value.map((each) => (typeof each === "object" ? JSON.stringify(each) : String(each))).join(", ")]];
  if (typeof value === "object") return Object.entries(value).flatMap(([key, inner]) => flat(inner, name === "" ? key : `${name} ${key}`));
  return [[name, String(value)]];
}

const toldElsewhere: ReadonlySet<string> = new Set(["format", "fingerprint", "source", "settings", "classNames", "classColours", "versions"]);

function facts({ manifest, config, history }: ReportData): Readonly<Record<string, Facts>> {
  const { source, heads, parameters, frozen, runningStatistics, preprocessing, options, versions } = manifest;
  const trained = parameters.reduce((sum, { length }) => sum + length, 0);
  const still = frozen.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const last = history.starts.at(-1);
  const { versions: installed, settings } = config;
  const data = Object.entries(config).filter(([name]) => !toldElsewhere.has(name));
  const [head] = (options["heads"] ?? []) as readonly { readonly loss?: unknown }[];
  return {
    Model: [
      ["file", source.path],
      ["sha256", `${source.sha256.slice(0, 16)}…`],
      ...heads.map(
        ({ name, logits, classes, weight }) => [name === "" ? "logits" : `head ${name}`, `${logits}, ${classes} classes, weight ${weight}`] as const,
      ),
      ["trained", `${plural(parameters.length, "tensor")}, ${count(trained)} numbers (${percentage(trained / Math.max(1, trained + still))})`],
      ["frozen", `${plural(frozen.length, "tensor")}, ${count(still)} numbers`],
      ...(runningStatistics.length === 0 ? [] : [["statistics", `${runningStatistics.length} tensors`] as const]),
      ...(manifest.untied ? [["untied", plural(manifest.untied.tensors.length, "parameter")] as const] : []),
      ...(manifest.resetHead ? [["fresh head", `${manifest.resetHead.classes} classes`] as const] : []),
    ],
    Data: [
      ["training", `${count(last?.images ?? 0)} images`],
      ["validation", history.best === undefined ? "none" : `${count(history.best.images)} images`],
      ...(history.end !== undefined && history.end.skipped_images > 0 ? [["unusable", `${history.end.skipped_images} images left out`] as const] : []),
      ...flat(Object.fromEntries(data)),
      ...flat(preprocessing),
    ],
    Training: flat(settings),
    Loss: flat(head?.loss),
    Optimizer: flat(options["optimizer"]),
    Versions: [...flat(versions), ...flat(installed).filter(([name]) => name !== "ohemgen")],
  };
}
