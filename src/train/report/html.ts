/** Text into HTML: nothing from a file, a class name or an option can become markup. */

/** Markup that is finished; everything else is escaped where it is put in. */
export interface Html {
  readonly html: string;
}

type Part = Html | string | number | null | undefined | false | readonly Part[];

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

export function escapeText(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] as string);
}

function textOf(part: Part): string {
  if (part === null || part === undefined || part === false) return "";
  if (typeof part === "object") return "html" in part ? part.html : part.map(textOf).join("");
  return escapeText(String(part));
}

/** A template whose values are escaped unless they are markup themselves. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return { html: strings.reduce((text, string, i) => text + textOf(parts[i - 1]) + string) };
}

export function raw(markup: string): Html {
  return { html: markup };
}

/** A value inside a script element: `<` could end it. */
export function scriptValue(value: unknown): Html {
  return raw(JSON.stringify(value).replace(/</g, "\\u003c"));
}

/** A score as people compare it. */
export function score(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toFixed(4);
}

export function percentage(value: number | null | undefined, digits = 1): string {
  return value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits)} %`;
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

export function plural(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}
