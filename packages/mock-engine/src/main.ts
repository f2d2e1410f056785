#!/usr/bin/env node
import { setTimeout as sleep } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import { buildEngine } from "./app.ts";
import { HELP, parseCommand } from "./args.ts";
import { OptionsError } from "./options.ts";

/** Time for connections to close after SIGTERM; then the process ends anyway. */
const SHUTDOWN_MS = 3_000;

/** Ends with code 0 once everything is closed, or with 1 if that takes too long. */
function shutdown(app: FastifyInstance | undefined): void {
  setTimeout(() => process.exit(1), SHUTDOWN_MS).unref();
  if (app === undefined) process.exit(0);
  app.close().then(
    () => process.exit(0),
    () => process.exit(1),
  );
}

async function run(): Promise<void> {
  const command = parseCommand(process.argv.slice(2), process.env);
  if (command.kind === "help") {
    process.stdout.write(HELP);
    return;
  }
  if (command.kind === "error") {
    process.stderr.write(`aibrix_mock_engine: error: ${command.message}\n`);
    process.exit(2);
  }
  let app: FastifyInstance | undefined;
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => shutdown(app));
  const building = await buildEngine(command.options, { exit: (code) => process.exit(code) });
  for (const flag of command.ignored) building.log.info({ flag }, "a flag of vLLM that means nothing here");
  // vLLM does not listen until it can serve.
  if (command.startupDelayMs > 0) await sleep(command.startupDelayMs);
  app = building;
  const { level } = app.log;
  app.log.level = "silent"; // Fastify would log one line for each address, and only at level info.
  const address = await app.listen({ host: command.host, port: command.port });
  app.log.level = level;
  // Whoever starts the engine reads the address from this line, at any level.
  process.stdout.write(`${JSON.stringify({ msg: "listening", address })}\n`);
}

run().catch((error: unknown) => {
  process.stderr.write(`aibrix_mock_engine: ${error instanceof OptionsError ? error.message : String(error)}\n`);
  process.exit(1);
});
