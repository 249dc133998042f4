/** Execution providers that lowerings are chosen for. `any`: what runs on every provider, at full float32 precision on each. */

export const providers = ["any", "cpu", "cuda", "webgpu"] as const;

export type Provider = (typeof providers)[number];
