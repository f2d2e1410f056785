#!/usr/bin/env node
import { runMain } from "@aibrix/service";
import { runGateway } from "./gateway.ts";
import { readOptions } from "./options.ts";

await runMain("aibrix_gateway_plugins", async (signal, log) => {
  const options = readOptions(process.argv.slice(2), process.env);
  if ("help" in options) process.stdout.write(options.help);
  else await runGateway(options, log, signal);
});
