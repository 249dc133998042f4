/** What computes a run: with other numbers here it goes on, but not in the same bits. */

import type { Manifest } from "../attach/manifest.ts";
import type { Provider } from "../train/session.ts";
import { versions } from "./versions.ts";

export interface Machine {
  readonly ep: Provider;
  /** 0: the runtime's default. */
  readonly threads: number;
  readonly versions: Readonly<Record<string, string | null>>;
}

interface MachineRequest {
  readonly provider: Provider | undefined;
  readonly threads: number | undefined;
}

/** What was asked for, else what the run that is taken up had. */
export function machineOf({ provider, threads }: MachineRequest, stored: Machine | undefined): Machine {
  return { ep: provider ?? stored?.ep ?? "cpu", threads: threads ?? stored?.threads ?? 0, versions: versions() };
}

/** What differs, for a person to read. */
export function machineChanges(machine: Machine, stored: Machine): string[] {
  const flat = ({ ep, threads, versions }: Machine): Readonly<Record<string, string>> => ({
    ...Object.fromEntries(Object.entries(versions).map(([name, version]) => [name, version ?? "none"])),
    ep,
    threads: threads === 0 ? "as the runtime likes" : `${threads}`,
  });
  const [now, before] = [flat(machine), flat(stored)];
  return Object.keys(now)
    .filter((name) => now[name] !== before[name])
    .map((name) => `${name} ${now[name]} instead of ${before[name]}, so not bit for bit as before`);
}

/** What is wrong with graphs on a provider that they were not made for; `undefined`: nothing is. */
export function providerWarning({ options }: Manifest, ep: Provider): string | undefined {
  if (ep !== "webgpu" || options["provider"] === "webgpu") return undefined;
  return "the graphs were attached without --for webgpu: ONNX Runtime computes some of their convolutions wrongly there";
}
