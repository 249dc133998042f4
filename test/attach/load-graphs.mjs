// Opens sessions with warnings on; the runtime prints them to stderr. Arguments: files.
import * as ort from "onnxruntime-node";

for (const file of process.argv.slice(2)) {
  const session = await ort.InferenceSession.create(file, { enableMemPattern: false, logSeverityLevel: 2 });
  await session.release();
}
