import { fillHub, startHub } from "@aibrix/devcluster";
import { aborted, ConfigError, type Flag, helpText, readBindAddress, readFlags } from "@aibrix/service";
import type { Command } from "./command.ts";

const FLAGS = {
  "bind-address": { type: "string", value: "ADDRESS", default: ":8080", help: "Where it listens." },
  root: { type: "string", value: "DIR", default: "/tmp/hub", help: "Folder for the repositories, made where it is not there." },
} as const satisfies Record<string, Flag>;

/** A local Hub with the tiny base model and the tiny adapters, made at the start: their bytes are the same every time. */
export const HUB: Command = {
  help: helpText("Usage: aibrix_dev_services hub [flags]\n\nClients find it by HF_ENDPOINT.", FLAGS),
  run: async (argv, signal, log) => {
    const flags = readFlags(FLAGS, argv);
    if (flags === undefined) return false;
    const address = readBindAddress("bind-address", flags["bind-address"]);
    if (address === undefined) throw new ConfigError("--bind-address=0 leaves nothing to serve: write an address such as :8080");
    await fillHub(flags.root);
    const onCall = (call: object): void => log.debug(call, "answered");
    const hub = await startHub({ root: flags.root, host: address.host, port: address.port, onCall });
    log.info({ url: hub.url }, "listening");
    await aborted(signal);
    await hub.close();
    return true;
  },
};
