/** Tables of the report: scores per class, the confusion matrix, and what the run was made of. */

import type { Colour } from "../../attach/colours.ts";
import type { ValidationEvent } from "../journal.ts";
import { count, type Html, html, percentage, raw, score } from "./html.ts";

export interface ClassLabel {
  readonly name: string;
  readonly colour: Colour;
}

/** Wider matrices than this cannot be read. */
const mostClasses = 40;

const hex = (colour: Colour): string => `#${colour.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;

export function swatch(colour: Colour): Html {
  return html`<span class="swatch" style="background:${hex(colour)}"></span>`;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/** Recall and precision of a class: its share of the diagonal in its row and in its column. */
function ratios(confusion: ValidationEvent["confusion"], index: number): { recall: number | null; precision: number | null } {
  const right = confusion[index]?.[index] ?? 0;
  const [labelled, predicted] = [sum(confusion[index] ?? []), sum(confusion.map((row) => row[index] ?? 0))];
  return { recall: labelled === 0 ? null : right / labelled, precision: predicted === 0 ? null : right / predicted };
}

export function classTable(classes: readonly ClassLabel[], shown: ValidationEvent, first: ValidationEvent): Html {
  const all = sum(shown.pixels);
  const compared = first.step !== shown.step;
  const rows = classes.map(({ name, colour }, i) => {
    const { recall, precision } = ratios(shown.confusion, i);
    const iou = shown.iou[i];
    return html`<tr><th scope="row">${swatch(colour)}${name}</th><td class="bar" style="--v:${iou ?? 0}"><span>${score(iou)}</span></td>${
      compared ? html`<td>${score(first.iou[i])}</td>` : ""
    }<td>${percentage(recall)}</td><td>${percentage(precision)}</td><td>${all === 0 ? "–" : percentage((shown.pixels[i] ?? 0) / all, 2)}</td></tr>`;
  });
  return html`<p class="muted">On ${count(shown.images)} validation images after step ${count(shown.step)}${shown.best ? ", the best so far" : ""}. A class that is neither labelled nor predicted has no IoU (–).</p><div class="scroll" tabindex="0" role="region" aria-label="Scores per class"><table>
<thead><tr><th scope="col">Class</th><th scope="col">IoU</th>${compared ? html`<th scope="col">IoU at step ${count(first.step)}</th>` : ""}<th scope="col">Recall</th><th scope="col">Precision</th><th scope="col">Labelled pixels</th></tr></thead>
<tbody>${rows}</tbody>
<tfoot><tr><th scope="row">Mean</th><td class="bar" style="--v:${shown.miou ?? 0}"><span>${score(shown.miou)}</span></td>${
    compared ? html`<td>${score(first.miou)}</td>` : ""
  }<td colspan="3">pixel accuracy ${score(shown.pixel_accuracy)}</td></tr></tfoot></table></div>`;
}

/** Rows in per cent of the labelled pixels of a class; of many classes the most frequent ones. */
export function confusionTable(classes: readonly ClassLabel[], { confusion, pixels }: ValidationEvent): Html {
  const order = classes.map((_, i) => i);
  const kept =
    classes.length <= mostClasses
      ? order
      : [...order]
          .sort((a, b) => (pixels[b] ?? 0) - (pixels[a] ?? 0))
          .slice(0, mostClasses)
          .sort((a, b) => a - b);
  const label = (i: number): string => classes[i]?.name ?? String(i);
  const rows = kept.map((i) => {
    const row = confusion[i] ?? [];
    const total = sum(row);
    const cells = kept.map((j) => {
      const share = total === 0 ? 0 : (row[j] ?? 0) / total;
      const text = total === 0 || (row[j] ?? 0) === 0 ? "" : share >= 0.9995 ? "100" : (100 * share).toFixed(share < 0.0995 ? 1 : 0);
      const kind = raw(i === j ? ' class="right"' : "");
      return html`<td${kind} style="--v:${share.toFixed(3)}" title="${label(i)} predicted as ${label(j)}: ${count(row[j] ?? 0)} pixels">${text}</td>`;
    });
    return html`<tr><th scope="row">${label(i)}</th>${cells}</tr>`;
  });
  const left = classes.length - kept.length;
  return html`<p class="muted">Row: label; column: prediction; in per cent of the pixels with that label.${left > 0 ? ` The ${mostClasses} most frequent of ${classes.length} classes.` : ""}</p><div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix"><table class="${kept.length > 10 ? "matrix dense" : "matrix"}">
<thead><tr><th scope="col"><span class="muted">label ↓ prediction →</span></th>${kept.map((j) => html`<th scope="col" title="${label(j)}">${label(j)}</th>`)}</tr></thead><tbody>${rows}</tbody></table></div>
${largestConfusions(classes, confusion)}`;
}

function largestConfusions(classes: readonly ClassLabel[], confusion: ValidationEvent["confusion"]): Html {
  const all = confusion.flatMap((row, i) => row.map((pixels, j) => ({ i, j, pixels, share: pixels / Math.max(1, sum(row)) })));
  const worst = all
    .filter(({ i, j, pixels }) => i !== j && pixels > 0)
    .sort((a, b) => b.pixels - a.pixels)
    .slice(0, 8);
  if (worst.length === 0) return html``;
  const name = (i: number): string => classes[i]?.name ?? String(i);
  return html`<details><summary>Largest confusions</summary><ol>${worst.map(
    ({ i, j, pixels, share }) => html`<li>${name(i)} taken for ${name(j)}: ${count(pixels)} pixels, ${percentage(share)} of ${name(i)}</li>`,
  )}</ol></details>`;
}

export function validationTable(validations: readonly ValidationEvent[]): Html {
  return html`<details><summary>Validations as numbers</summary><div class="scroll" tabindex="0" role="region" aria-label="Validations"><table>
<thead><tr><th scope="col">Step</th><th scope="col">Loss</th><th scope="col">CE</th><th scope="col">Lovász</th><th scope="col">mIoU</th><th scope="col">Pixel accuracy</th></tr></thead>
<tbody>${validations.map(
    (each) =>
      html`<tr><th scope="row">${count(each.step)}${each.best ? " ★" : ""}</th><td>${score(each.loss)}</td><td>${score(each.ce)}</td><td>${score(each.lovasz)}</td><td>${score(each.miou)}</td><td>${score(each.pixel_accuracy)}</td></tr>`,
  )}</tbody></table></div></details>`;
}

export type Facts = readonly (readonly [name: string, value: string])[];

export function factSections(sections: Readonly<Record<string, Facts>>): Html {
  return html`<div class="facts">${Object.entries(sections)
    .filter(([, facts]) => facts.length > 0)
    .map(
      ([title, facts]) => html`<section><h3>${title}</h3><dl>${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl></section>`,
    )}</div>`;
}
