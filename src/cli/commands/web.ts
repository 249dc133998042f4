/** `ohemgen web`: serves the page that attaches and trains in the browser, until a signal ends it. */

import { defineCommand, type Result } from "../command.ts";

export const webCommand = defineCommand({
  name: "web",
  summary: "serve a page that trains in the browser",
  options: {
    port: { kind: "integer", min: 0, max: 65535, describe: "port to listen on; 0: any free one", preset: "8080" },
    host: { kind: "text", describe: "address to listen on", preset: "127.0.0.1" },
  },
  examples: [["ohemgen web", "then open the printed address"]],
  async run({ port = 8080, host = "127.0.0.1" }): Promise<Result> {
    const { serveFiles, webFiles } = await import("../web-server.ts");
    const server = await serveFiles(webFiles(), port, host);
    const address = server.address();
    const used = typeof address === "object" && address !== null ? address.port : port;
    const url = `http://${host.includes(":") ? `[${host}]` : host}:${used}/`;
    return { document: { url }, text: url };
  },
});
