import { runMain } from "@aibrix/service";
import { runGateway } from "../src/gateway.ts";
import { readOptions } from "../src/options.ts";

// The gateway as it ships, but for one thing: the pods are only objects of an API server, so its first argument says, in JSON, where the
// engine of a pod's address really is.
await runMain("aibrix_gateway_plugins", async (signal, log) => {
  const [reach = "{}", ...flags] = process.argv.slice(2);
  const engines = new Map(Object.entries(JSON.parse(reach) as Readonly<Record<string, string>>));
  const options = readOptions(flags, process.env);
  if ("help" in options) process.stdout.write(options.help);
  else await runGateway(options, log, signal, { reach: (address) => engines.get(address) ?? address });
});
