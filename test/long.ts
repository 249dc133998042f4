/** `npm run test:all` sets OHEMGEN_LONG and runs everything; without it long tests do a fixed part of their work, the same every time. */

export const long = Boolean(process.env["OHEMGEN_LONG"]);

/** Every `step`-th of the list, from the first; all of it with OHEMGEN_LONG. */
export function sampled<T>(all: readonly T[], step: number): readonly T[] {
  return long ? all : all.filter((_, i) => i % step === 0);
}
