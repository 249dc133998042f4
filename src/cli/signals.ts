/** Ctrl-C and its like: the first asks the work to end, the second ends it at once. */

const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

export type StopSignal = keyof typeof exitCodes;

export interface Signals {
  /** The signal that came, if any. */
  caught(): StopSignal | undefined;
  release(): void;
}

/** Exit code of a command that a signal ended: 128 and its number. */
export function exitCodeOf(signal: StopSignal): number {
  return exitCodes[signal];
}

export function catchSignals(onFirst: (signal: StopSignal) => void): Signals {
  let first: StopSignal | undefined;
  const names = Object.keys(exitCodes) as StopSignal[];
  const release = (): void => {
    for (const name of names) process.removeListener(name, listener);
  };
  const listener = (signal: NodeJS.Signals): void => {
    first = signal as StopSignal;
    // From here on the system's own way applies: it ends the process.
    release();
    onFirst(first);
  };
  for (const name of names) process.on(name, listener);
  return { caught: () => first, release };
}
