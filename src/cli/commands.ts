/** The commands, in the order of the help. A module here loads nothing heavy: a command imports what it needs when it runs. */

import type { Command } from "./command.ts";
import { attachCommand } from "./commands/attach.ts";
import { checkCommand } from "./commands/check.ts";
import { demoCommand } from "./commands/demo.ts";
import { emitCommand } from "./commands/emit.ts";
import { evalCommand } from "./commands/eval.ts";
import { exportCommand } from "./commands/export.ts";
import { gradCommand } from "./commands/grad.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { opsCommand } from "./commands/ops.ts";
import { predictCommand } from "./commands/predict.ts";
import { trainCommand } from "./commands/train.ts";
import { tuneCommand } from "./commands/tune.ts";
import { webCommand } from "./commands/web.ts";

export const commands: readonly Command[] = [
  attachCommand,
  inspectCommand,
  trainCommand,
  evalCommand,
  predictCommand,
  exportCommand,
  emitCommand,
  gradCommand,
  checkCommand,
  tuneCommand,
  webCommand,
  opsCommand,
  demoCommand,
];
