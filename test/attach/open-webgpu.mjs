/** Opens a model on WebGPU, telling on stderr where the runtime places its nodes: node open-webgpu.mjs MODEL. */

import { InferenceSession } from "onnxruntime-node";

const session = await InferenceSession.create(process.argv[2], {
  executionProviders: ["webgpu"],
  graphOptimizationLevel: "all",
  enableMemPattern: false,
  logSeverityLevel: 0,
});
await session.release();
