/** The thread that trains: one run at a time, everything it says goes to the page. */

import { OhemgenError } from "../support/errors.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";
import { runInPage } from "./training.ts";

interface WorkerScope {
  postMessage(message: FromWorker): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}

const scope = globalThis as unknown as WorkerScope;
const runtimeBase = new URL("ort/", location.href);
let stopping = false;

scope.onmessage = ({ data }) => {
  if (data.kind === "stop") {
    stopping = true;
    return;
  }
  const tell = (message: FromWorker): void => scope.postMessage(message);
  runInPage(data.request, { tell, stopping: () => stopping, runtimeBase }).catch((error: unknown) => tell(failure(error)));
};

function failure(error: unknown): FromWorker {
  if (error instanceof OhemgenError) return { kind: "failed", code: error.code, message: error.message, hint: error.hint ?? null };
  return {
    kind: "failed",
    code: "E701",
    message: error instanceof Error ? error.message : String(error),
    hint: "This is a fault of ohemgen; please report it.",
  };
}
