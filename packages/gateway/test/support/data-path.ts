import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { EXT_PROC_CLUSTER, ensureEnvoy, envoyBootstrap } from "@aibrix/devcluster";
import { Agent, type Dispatcher, request } from "undici";
import { stringify } from "yaml";
import { freePorts } from "./ports.ts";
import { type Program, startProgram } from "./process.ts";

/** The program as it ships: `pnpm build` makes it. */
export const GATEWAY_PROGRAM = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

/** One entry of the endpoints file. */
export interface TestEndpoint {
  readonly engine: string;
  readonly runtime?: string;
  readonly models?: readonly string[];
  readonly apiKeyFile?: string;
}

/** A real Envoy on free ports. */
export interface EnvoyPath {
  readonly url: string;
  readonly adminUrl: string;
  readonly envoy: Program;
  /** A value of Envoy's statistics. */
  readonly stat: (name: string) => Promise<number>;
  /** Sends a request through Envoy. */
  readonly call: (path: string, options?: CallOptions) => Promise<Reply>;
  /** Asks for a completion of a model. */
  readonly complete: (model: string, options?: CallOptions) => Promise<Reply>;
  readonly stop: () => Promise<void>;
}

/** A real Envoy and the gateway's program. */
export interface DataPath extends EnvoyPath {
  readonly gatewayUrl: string;
  readonly endpointsFile: string;
  readonly gateway: () => Program;
  readonly writeEndpoints: (endpoints: readonly TestEndpoint[]) => Promise<void>;
  readonly startGateway: () => Promise<void>;
}

interface CallOptions {
  readonly method?: Dispatcher.HttpMethod;
  readonly body?: string | Buffer | Readable;
  readonly headers?: Record<string, string>;
}

export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever JSON came.
  readonly json: any;
}

/** Where a test's Envoy has to listen, and where its gateway is. */
export interface EnvoyPlace {
  readonly listenPort: number;
  readonly adminPort: number;
  readonly grpcPort: number;
  /** A folder that goes with the test. */
  readonly dir: string;
}

/** Makes Envoy's configuration for a place. */
export type BootstrapFor = (place: EnvoyPlace) => object;

function listing(engines: readonly { readonly port: number }[], transportSocket?: object): BootstrapFor {
  return ({ listenPort, adminPort, grpcPort, dir }) => {
    const bootstrap = envoyBootstrap({
      listenPort,
      adminPort,
      extProc: { host: "127.0.0.1", port: grpcPort },
      engines: engines.map(({ port }) => ({ host: "127.0.0.1", port })),
      accessLogPath: join(dir, "access.log"),
    });
    if (transportSocket !== undefined) secure(bootstrap as unknown as Bootstrap, transportSocket);
    return bootstrap;
  };
}

interface Bootstrap {
  readonly static_resources: { readonly clusters: readonly { readonly name: string }[] };
}

function secure({ static_resources: { clusters } }: Bootstrap, transportSocket: object): void {
  const gateway = clusters.find(({ name }) => name === EXT_PROC_CLUSTER);
  if (gateway === undefined) throw new Error("Envoy's configuration names no cluster ext_proc");
  Object.assign(gateway, { transport_socket: transportSocket });
}

/** What a test changes of the data path. */
export interface DataPathOptions {
  readonly envoyArgs?: readonly string[];
  /** Flags of the gateway besides those that it needs. */
  readonly gatewayArgs?: readonly string[];
  /** Variables of its environment besides this process's. */
  readonly gatewayEnv?: Readonly<Record<string, string>>;
  /** Lets Envoy end its calls of the gateway with RST_STREAM, as it does where nothing is set. */
  readonly resets?: boolean;
  /** How Envoy secures its connections to the gateway; in the clear where it is absent. */
  readonly transportSocket?: object;
}

/** Starts Envoy and the gateway. Every engine that is ever used must be in `engines`: Envoy connects to nothing else. */
export async function startDataPath(
  engines: readonly { readonly port: number }[],
  endpoints: readonly TestEndpoint[],
  options: DataPathOptions = {},
): Promise<DataPath> {
  const bootstrapFor: BootstrapFor = (place) => {
    const { layered_runtime, ...rest } = listing(engines, options.transportSocket)(place) as Record<string, unknown>;
    return options.resets === true ? rest : { layered_runtime, ...rest };
  };
  return await withCleanUp(async (dir, cleanUps, stop) => await start(dir, bootstrapFor, endpoints, options, stop, cleanUps));
}

/** The same with a configuration of Envoy of the test's own. */
export async function startDataPathWith(
  bootstrapFor: BootstrapFor,
  endpoints: readonly TestEndpoint[],
  options: DataPathOptions = {},
): Promise<DataPath> {
  return await withCleanUp(async (dir, cleanUps, stop) => await start(dir, bootstrapFor, endpoints, options, stop, cleanUps));
}

/** Starts Envoy alone, with a configuration of the test's own. */
export async function startEnvoyWith(bootstrapFor: BootstrapFor): Promise<EnvoyPath> {
  const [grpcPort = 0] = await freePorts(1);
  return await withCleanUp(
    async (dir, cleanUps, stop) => await startEnvoy(dir, bootstrapFor, grpcPort, ["--concurrency", "1"], stop, cleanUps),
  );
}

/** Starts Envoy alone; the gateway is wherever `grpcPort` says. */
export async function startEnvoyPath(
  engines: readonly { readonly port: number }[],
  grpcPort: number,
  transportSocket?: object,
): Promise<EnvoyPath> {
  const bootstrapFor = listing(engines, transportSocket);
  return await withCleanUp(
    async (dir, cleanUps, stop) => await startEnvoy(dir, bootstrapFor, grpcPort, ["--concurrency", "1"], stop, cleanUps),
  );
}

type CleanUps = (() => Promise<unknown>)[];

async function withCleanUp<T>(begin: (dir: string, cleanUps: CleanUps, stop: () => Promise<void>) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), "aibrix-gateway-"));
  const cleanUps: CleanUps = [() => rm(dir, { recursive: true, force: true })];
  const stop = async (): Promise<void> => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  };
  try {
    return await begin(dir, cleanUps, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  dir: string,
  bootstrapFor: BootstrapFor,
  endpoints: readonly TestEndpoint[],
  { envoyArgs = ["--concurrency", "1"], gatewayArgs = [], gatewayEnv = {} }: DataPathOptions,
  stop: () => Promise<void>,
  cleanUps: CleanUps,
): Promise<DataPath> {
  const [grpcPort = 0, metricsPort = 0] = await freePorts(2);
  const endpointsFile = join(dir, "endpoints.yaml");
  const writeEndpoints = async (list: readonly TestEndpoint[]): Promise<void> =>
    await writeFile(endpointsFile, stringify({ engines: list }));
  await writeEndpoints(endpoints);

  const gatewayUrl = `http://127.0.0.1:${metricsPort}`;
  const args = [
    GATEWAY_PROGRAM,
    `--grpc-bind-address=127.0.0.1:${grpcPort}`,
    `--metrics-bind-address=127.0.0.1:${metricsPort}`,
    `--endpoints-config=${endpointsFile}`,
    ...gatewayArgs,
  ];
  const startGateway = async (): Promise<Program> => {
    const program = await startProgram(process.execPath, args, () => answers(`${gatewayUrl}/readyz`), gatewayEnv);
    cleanUps.push(program.stop);
    return program;
  };
  let gateway = await startGateway();
  return {
    ...(await startEnvoy(dir, bootstrapFor, grpcPort, envoyArgs, stop, cleanUps)),
    gatewayUrl,
    endpointsFile,
    gateway: () => gateway,
    writeEndpoints,
    startGateway: async () => {
      gateway = await startGateway();
    },
  };
}

async function answers(url: string): Promise<boolean> {
  return (await fetch(url)).ok;
}

async function startEnvoy(
  dir: string,
  bootstrapFor: BootstrapFor,
  grpcPort: number,
  envoyArgs: readonly string[],
  stop: () => Promise<void>,
  cleanUps: CleanUps,
): Promise<EnvoyPath> {
  const { bin } = await ensureEnvoy({ log: () => undefined, signal: AbortSignal.timeout(240_000) });
  const [listenPort = 0, adminPort = 0] = await freePorts(2);
  const bootstrap = bootstrapFor({ listenPort, adminPort, grpcPort, dir });
  const envoyConfig = join(dir, "envoy.json");
  await writeFile(envoyConfig, JSON.stringify(bootstrap));
  const adminUrl = `http://127.0.0.1:${adminPort}`;
  const envoyCommand = ["-c", envoyConfig, "--disable-hot-restart", "--log-level", "warning", ...envoyArgs];
  const envoy = await startProgram(bin, envoyCommand, () => answers(`${adminUrl}/ready`));
  cleanUps.push(envoy.stop);

  const url = `http://127.0.0.1:${listenPort}`;
  const agent = new Agent({ connections: 128, headersTimeout: 60_000 });
  cleanUps.push(() => agent.destroy());
  const call = async (path: string, options: CallOptions = {}): Promise<Reply> => {
    const { method = options.body === undefined ? "GET" : "POST", body = null, headers = {} } = options;
    const { statusCode, headers: answered, body: stream } = await request(`${url}${path}`, { method, body, headers, dispatcher: agent });
    const text = await stream.text();
    return { status: statusCode, headers: answered, text, json: parse(text) };
  };
  return {
    url,
    adminUrl,
    envoy,
    stat: async (name) => {
      const answer = await fetch(`${adminUrl}/stats?filter=^${name}$`);
      return Number(/: (\d+)/.exec(await answer.text())?.[1]);
    },
    call,
    complete: async (model, options = {}) =>
      await call("/v1/completions", {
        body: JSON.stringify({ model, prompt: "x" }),
        ...options,
        headers: { "content-type": "application/json", ...options.headers },
      }),
    stop,
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
