/**
 * State that stays in the memory of a device between steps. ONNX Runtime in Node cannot read such tensors; a graph
 * that hands its inputs on, and whose outputs are on the CPU, can.
 */

import type { Manifest } from "../attach/manifest.ts";
import { OpBuilder } from "../ops/builder.ts";
import { finishModel } from "../ops/finish.ts";
import { encodeModel } from "../proto/encode.ts";
import { bug } from "../support/errors.ts";
import type { Session, Tensors } from "./runtime.ts";

type StateInfo = Pick<Manifest, "state">;

/** The large vectors; counters are integers, which providers keep on the CPU. */
function vectorNames({ state }: StateInfo): string[] {
  return state.filter(({ type }) => type === "float32").map(({ name }) => name);
}

/** Outputs of a step that may stay on the device. */
export function deviceOutputs(manifest: StateInfo): string[] {
  return vectorNames(manifest).map((name) => `${name}.next`);
}

/** A model with an output `NAME.copy` for every state vector. */
export function stateCopyModel(manifest: StateInfo): Uint8Array {
  const op = new OpBuilder();
  const sizes = new Map(manifest.state.map(({ name, shape }) => [name, shape]));
  const inputs = vectorNames(manifest).map((name) => {
    const [length] = sizes.get(name) ?? bug(`no state "${name}"`);
    return op.input(name, "float32", [length ?? bug(`state "${name}" has no size`)]);
  });
  return encodeModel(
    finishModel(
      op,
      "state_copy",
      inputs,
      inputs.map((value) => ({ name: `${value.name}.copy`, value })),
    ),
  );
}

/** @param copier a session of `stateCopyModel` on the device of the state */
export function deviceStateReader(copier: Session): (state: Tensors) => Promise<Tensors> {
  return async (state) => {
    if ([...state.values()].every(({ location }) => location === "cpu")) return state;
    const copies = await copier.run(new Map([...state].filter(([name]) => copier.inputs.includes(name))));
    return new Map([...state].map(([name, tensor]) => [name, copies.get(`${name}.copy`) ?? tensor]));
  };
}
