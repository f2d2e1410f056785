#!/usr/bin/env node
import { createLogger, runMain } from "@aibrix/service";
import { runGateway } from "./gateway.ts";
import { readOptions } from "./options.ts";

const log = createLogger("aibrix_gateway_plugins");
await runMain(log, async (signal) => {
  const options = readOptions(process.argv.slice(2));
  if ("help" in options) process.stdout.write(options.help);
  else await runGateway(options, log, signal);
});
