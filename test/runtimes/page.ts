/** The table of examples/guides/runtimes.md, written and read. */

import { type Runtime, runtimes } from "./runtimes.ts";

/** What stands before it in the page is written by hand. */
export const marker = "<!-- From here on made by `npm run emit-runtimes`. -->\n";

const titles: Readonly<Record<Runtime, string>> = {
  openvino: "OpenVINO",
  reference: "ONNX reference evaluator",
  wasm: "onnxruntime-web, WebAssembly",
};

export interface Row {
  readonly name: string;
  readonly differences: Readonly<Record<Runtime, number>>;
}

export function tableText(rows: readonly Row[], versions: Readonly<Record<Runtime, string>>, baseline: string): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  const head = line(["graph", ...runtimes.map((runtime) => `${titles[runtime]} ${versions[runtime]}`)]) + line(["---", ...runtimes.map(() => "---")]);
  const body = rows.map(({ name, differences }) => line([name, ...runtimes.map((runtime) => differences[runtime].toExponential(1))])).join("");
  return `Against onnxruntime ${baseline} on the CPU:\n\n${head}${body}`;
}

/** Cells of the rows below the head. */
export function tableRows(page: string): string[][] {
  const lines = page.split(marker)[1]?.split("\n") ?? [];
  const table = lines.filter((text) => text.startsWith("| "));
  return table.slice(2).map((text) =>
    text
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}
