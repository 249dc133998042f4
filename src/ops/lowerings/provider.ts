/** Execution providers that lowerings are chosen for. */

/** `any`: only what every provider has kernels for. */
export type Provider = "any" | "cpu" | "cuda" | "webgpu";
