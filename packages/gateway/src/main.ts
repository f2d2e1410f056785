#!/usr/bin/env -S node --no-parallel-scavenge --min-semi-space-size=16
// The first line's flags are for what requests leave behind, which is short-lived: it is collected rarely, and by one thread, for handing
// such small work to others costs more than doing it.
import { runMain } from "@aibrix/service";
import { runGateway } from "./gateway.ts";
import { readOptions } from "./options.ts";

await runMain("aibrix_gateway_plugins", async (signal, log) => {
  const options = readOptions(process.argv.slice(2), process.env);
  if ("help" in options) process.stdout.write(options.help);
  else await runGateway(options, log, signal);
});
