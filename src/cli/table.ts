/** Plain tables and numbers for people. */

export function table(rows: readonly (readonly string[])[]): string {
  const columns = (rows[0] ?? []).map((_, i) => {
    const cells = rows.map((row) => row[i] ?? "");
    return { width: Math.max(...cells.map((cell) => cell.length)), numbers: rows.length > 2 && cells.slice(1).every(isNumber) };
  });
  const line = (row: readonly string[]): string =>
    columns.map(({ width, numbers }, i) => (numbers ? (row[i] ?? "").padStart(width) : (row[i] ?? "").padEnd(width))).join("  ");
  return rows.map((row) => line(row).trimEnd()).join("\n");
}

/** A column of numbers below its heading is set to the right. */
function isNumber(cell: string): boolean {
  return cell === "–" || /^[-+]?[\d,.]+( %)?$/.test(cell);
}

export function percent(share: number | null, digits = 1): string {
  return share === null ? "–" : `${(100 * share).toFixed(digits)} %`;
}

export function decimals(value: number | null, digits = 4): string {
  return value === null ? "–" : value.toFixed(digits);
}

/** `1:05`, `2:03:00`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = `${whole % 60}`.padStart(2, "0");
  return hours === 0 ? `${minutes}:${rest}` : `${hours}:${`${minutes}`.padStart(2, "0")}:${rest}`;
}

export function count(value: number): string {
  return value.toLocaleString("en-US");
}

export function plural(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}
