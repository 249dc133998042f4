/** The curves: data for uPlot, and the few lines that draw it in the page in the colours of the theme. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type RunHistory, smoothed } from "./history.ts";
import { type Html, html, raw, score, scriptValue } from "./html.ts";

/** More would not be seen, and the page stays small however long the run. */
const mostPoints = 1000;

interface Series {
  readonly label: string;
  /** A custom property of the style sheet. */
  readonly colour: string;
  readonly width: number;
  readonly points: boolean;
  readonly steps: readonly number[];
  readonly values: readonly (number | null)[];
}

interface Chart {
  readonly id: string;
  readonly title: string;
  /** For those who cannot see it. */
  readonly summary: string;
  readonly series: readonly Series[];
  /** Fixed ends of the scale. */
  readonly range: readonly [number, number] | null;
}

/** At most six digits: enough for a curve, a fraction of the bytes. */
function rounded(values: readonly (number | null)[]): (number | null)[] {
  return values.map((value) => (value === null ? null : Number(value.toPrecision(6))));
}

export function chartsOf(history: RunHistory): readonly Chart[] {
  const { steps, columns } = history.curve(mostPoints);
  const { validations } = history;
  const validated = validations.map(({ step }) => step);
  const line = (label: string, colour: string, values: readonly (number | null)[], width = 2): Series => ({
    label,
    colour,
    width,
    points: false,
    steps,
    values: rounded(values),
  });
  const marks = (label: string, colour: string, values: readonly (number | null)[]): Series => ({
    label,
    colour,
    width: 2,
    points: true,
    steps: validated,
    values: rounded(values),
  });
  const even = smoothed(columns.loss, Math.max(5, steps.length / 60));
  const [first, last] = [validations[0], validations.at(-1)];
  const charts: Chart[] = [
    {
      id: "loss",
      title: "Loss",
      summary: `Training loss, smoothed: ${score(even.find((value) => value !== null))} at first, ${score(even.at(-1))} at the end.${last ? ` Validation loss: ${score(first?.loss)} at first, ${score(last.loss)} at the end.` : ""}`,
      series: [
        line("training", "--faint", columns.loss, 1),
        line("training, smoothed", "--one", even),
        ...(last
          ? [
              marks(
                "validation",
                "--two",
                validations.map(({ loss }) => loss),
              ),
            ]
          : []),
      ],
      range: null,
    },
    {
      id: "miou",
      title: "Validation scores",
      summary: `mIoU ${score(first?.miou)} at first, ${score(last?.miou)} at the end; pixel accuracy ${score(first?.pixel_accuracy)} and ${score(last?.pixel_accuracy)}.`,
      series: [
        marks(
          "mIoU",
          "--two",
          validations.map(({ miou }) => miou),
        ),
        marks(
          "pixel accuracy",
          "--three",
          validations.map((each) => each.pixel_accuracy),
        ),
      ],
      range: [0, 1],
    },
    {
      id: "lr",
      title: "Learning rate",
      summary: `Largest ${Math.max(0, ...columns.lr.map((value) => value ?? 0)).toPrecision(3)}.`,
      series: [line("learning rate", "--one", columns.lr)],
      range: null,
    },
    {
      id: "kept",
      title: "Hard pixels",
      summary: `Share of the labelled pixels that the cross-entropy kept: ${score(columns.kept.find((value) => value !== null))} at first, ${score(columns.kept.at(-1))} at the end.`,
      series: [line("kept", "--one", columns.kept)],
      range: [0, 1],
    },
  ];
  return charts.filter(({ series }) => series.some(({ values }) => values.some((value) => value !== null)));
}

export function chartFigures(charts: readonly Chart[]): Html {
  return html`${charts.map(
    ({ id, title, summary }) =>
      html`<figure class="chart"><figcaption>${title}</figcaption><div id="chart-${id}" class="plot" role="img" aria-label="${title}. ${summary}"></div></figure>`,
  )}`;
}

/** uPlot as it is published, and its licence, which goes with every copy. */
function library(): { readonly script: string; readonly style: string; readonly licence: string } {
  const { resolve } = createRequire(import.meta.url);
  const read = (name: string): string => readFileSync(resolve(`uplot/${name}`), "utf8");
  return {
    licence: read("LICENSE").replaceAll("*/", "* /"),
    script: read("dist/uPlot.iife.min.js").replace(/<\/script/gi, "<\\/script"),
    style: read("dist/uPlot.min.css"),
  };
}

export function chartStyle(): Html {
  return raw(library().style);
}

export function chartScript(charts: readonly Chart[]): Html {
  const { script, licence } = library();
  return html`<script>/* uPlot\n${raw(licence)}*/\n${raw(script)}</script>
<script>const charts = ${scriptValue(charts)};
${raw(drawing)}</script>`;
}

/** Runs in the page. Drawn again where the theme or the width changes. */
const drawing = `
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const shown = [];
const draw = () => {
  for (const plot of shown.splice(0)) plot.destroy();
  for (const { id, series, range } of charts) {
    const place = document.getElementById("chart-" + id);
    const axis = { stroke: colour("--muted"), font: "12px system-ui, sans-serif", grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const format = (value) => value == null ? "–" : Math.abs(value) >= 0.001 || value === 0 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
    // Where no cursor chooses a step, the last numbers stand beside the names.
    const legend = (plot, value, index, at) => {
      const number = at == null ? (plot.data[index] ?? []).findLast((other) => other != null) : value;
      return index === 0 ? String(number ?? "–") : format(number);
    };
    shown.push(new uPlot({
      width: place.clientWidth, height: 240,
      scales: { x: { time: false }, ...(range ? { y: { range } } : {}) },
      axes: [{ ...axis, size: 32, label: "step", labelFont: axis.font, labelSize: 22 }, { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => format(tick)) }],
      cursor: { points: { size: 6 } },
      series: [{ label: "step", value: legend }, ...series.map(({ label, colour: name, width, points }) => ({
        label, stroke: colour(name), width, spanGaps: true, value: legend,
        points: { show: points, size: 6, fill: colour(name) },
      }))],
    }, uPlot.join(series.map(({ steps, values }) => [steps, values])), place));
  }
};
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
`;
