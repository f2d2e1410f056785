import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { UsageError } from "./errors.ts";

/** One flag: what it takes, and a sentence for `--help`. */
export interface Flag {
  readonly type: "string" | "boolean";
  readonly multiple?: boolean;
  /** Filled in by whoever reads the flag; here for the help. */
  readonly default?: string;
  /** Name of what it takes, for the help: `PORT`. */
  readonly value?: string;
  readonly help: string;
}

export interface Command {
  readonly usage: string;
  readonly about: string;
  readonly flags: Readonly<Record<string, Flag>>;
}

/** What a flag means that was not given; paths are from the workspace. */
export const DEFAULTS: { readonly dir: string; readonly adapters: string; readonly engine: string; readonly engines: string } = {
  dir: ".aibrix",
  adapters: "samples/adapter",
  engine: "mock",
  engines: "1",
};

const DIR: Flag = { type: "string", value: "DIR", default: DEFAULTS.dir, help: "State folder: processes, logs, data." };

export const COMMANDS: Readonly<Record<"start" | "stop" | "status", Command>> = {
  start: {
    usage: "npm start -- [flags]",
    about:
      "Starts Envoy, the gateway, engines and their runtimes on this machine, and serves the adapters of a folder.\nWith --kubernetes: starts a Kubernetes cluster with the platform on it, for kubectl.",
    flags: {
      detach: { type: "boolean", help: "Return when all is ready; without it the stack ends with this command (Ctrl-C)." },
      dir: DIR,
      adapters: { type: "string", value: "DIR", default: DEFAULTS.adapters, help: "Folder with ModelAdapter manifests; watched." },
      engine: {
        type: "string",
        value: "mock|vllm",
        default: DEFAULTS.engine,
        help: "Engine to start: a light stand-in, or a real vLLM on the CPU with a tiny model.",
      },
      engines: { type: "string", value: "N", default: DEFAULTS.engines, help: "How many engines to start." },
      "engine-url": {
        type: "string",
        value: "URL",
        multiple: true,
        help: "Use an engine that runs already; may be repeated. None is started then.",
      },
      "engine-arg": {
        type: "string",
        value: "ARG",
        multiple: true,
        help: "Passed to the started engines, for example --engine-arg=--max-lora-rank=32; may be repeated.",
      },
      "api-key-file": { type: "string", value: "FILE", help: "The started engines ask clients for the key in this file." },
      s3: { type: "boolean", help: "Also start a local S3 server with an adapter in it." },
      hub: {
        type: "string",
        value: "URL",
        help: "Hub for huggingface:// artifacts, for example https://huggingface.co. Without it a local one is started.",
      },
      port: { type: "string", value: "PORT", help: "Port of the gateway on 127.0.0.1. Without it a free one is taken." },
      kubernetes: {
        type: "boolean",
        help: "Start the platform on Kubernetes. With it only --detach, --dir, --engine and the flags below.",
      },
      cluster: {
        type: "string",
        value: "node|kind",
        help: "Cluster to start: a node of this machine's own (Linux, as root), or kind. Implies --kubernetes. Without it: kind where Docker and kind are, else node.",
      },
      kubeconfig: { type: "string", value: "FILE", help: "Use the cluster of this file's current context. Implies --kubernetes." },
      "image-registry": {
        type: "string",
        value: "PREFIX",
        help: "With --kubeconfig: goes before the images' names, for example HOST:PORT after npm run images -- --engine mock --push http://HOST:PORT.",
      },
    },
  },
  stop: { usage: "npm run stop -- [flags]", about: "Ends the stack of a state folder. Data and logs stay.", flags: { dir: DIR } },
  status: {
    usage: "npm run status -- [flags]",
    about: "Shows the parts, engines and adapters of a stack. Exits with 1 where none is ready.",
    flags: { dir: DIR, json: { type: "boolean", help: "Print JSON." } },
  },
};

/** What the command line gave, by flag; a flag that was not given is absent. */
export type Values = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;

/**
 * Reads the flags of a command.
 *
 * @returns the values, or `undefined` where `--help` was asked for
 * @throws {@link UsageError} for anything that is not in the table
 */
export function readFlags(command: Command, argv: readonly string[]): Values | undefined {
  const options: ParseArgsOptionsConfig = { help: { type: "boolean", short: "h" } };
  for (const [name, { type, multiple }] of Object.entries(command.flags)) {
    options[name] = { type, ...(multiple === true ? { multiple } : {}) };
  }
  try {
    const { values } = parseArgs({ args: [...argv], options, allowPositionals: false });
    return values.help === true ? undefined : values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${command.usage}; --help shows every flag.`);
  }
}

/** The text of `--help`. */
export function helpText({ usage, about, flags }: Command): string {
  const rows = Object.entries(flags).map(([name, f]) => {
    const left = `  --${name}${f.type === "string" ? `=${f.value ?? "VALUE"}` : ""}`;
    return `${left.padEnd(28)} ${f.help}${f.default === undefined ? "" : ` (default ${f.default})`}`;
  });
  return `${about}\n\nusage: ${usage}\n\n${rows.join("\n")}\n`;
}
