import { stat } from "node:fs/promises";
import { parseArgs } from "node:util";
import { startHub } from "./hub.ts";

const USAGE = `usage: node packages/devcluster/dist/hub/main.js --root DIR [--port N] [--host ADDRESS] [--token T] [--quiet]

A local Hugging Face Hub that serves DIR/<org>/<name>/ (revision main) and DIR/<org>/<name>@<revision>/.
A repository with a file .gated in it wants the token: the environment variable AIBRIX_HUB_TOKEN, or --token.
Clients find it by HF_ENDPOINT.`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      root: { type: "string" },
      port: { type: "string", default: "0" },
      host: { type: "string", default: "127.0.0.1" },
      token: { type: "string" },
      quiet: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const root = values.root;
  if (root === undefined || !(await stat(root).catch(() => undefined))?.isDirectory()) {
    throw new Error(`--root must name a folder that exists, got ${root ?? "nothing"}`);
  }
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error(`--port must be a port number, got ${values.port}`);
  // The environment keeps the token out of the process list; the flag is for tests.
  const token = values.token ?? process.env.AIBRIX_HUB_TOKEN;
  const hub = await startHub({
    root,
    port,
    host: values.host,
    ...(token === undefined ? {} : { token }),
    ...(values.quiet ? {} : { onCall: (call) => console.log(`${call.method} ${call.url} ${call.status}`) }),
  });
  console.log(`listening on ${hub.url}`);
  const stop = (): void => void hub.close();
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
