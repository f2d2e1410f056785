import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { envoyBootstrap } from "../envoy/bootstrap.ts";
import { ensureEnvoy } from "../parts/envoy.ts";
import { ensureVersitygw } from "../parts/versitygw.ts";
import { ensureVllm } from "../parts/vllm.ts";
import { endpointsConfig } from "./endpoints-config.ts";
import { type ExternalEngine, resolveEngine } from "./engines.ts";
import { StackError } from "./errors.ts";
import { fillHub, S3_BUCKET } from "./fixtures.ts";
import { readApiKey, type StandaloneOptions } from "./options.ts";
import { hubRoot, ownPrograms, stackPaths } from "./paths.ts";
import type { EngineSlot, PlanInput, Programs } from "./plan.ts";
import { freePorts, requireFreePort } from "./ports.ts";
import type { StackS3 } from "./stack-file.ts";
import type { StateDir } from "./state-dir.ts";

/** What is found or made once for a stack, before any port is chosen. */
export interface Prepared {
  readonly programs: Programs;
  readonly baseModelDir: string;
  readonly external: readonly ExternalEngine[];
  readonly apiKey: string | undefined;
}

/** Finds the foreign programs (fetching or building them where they are missing, with progress) and writes the files that are served. */
export async function prepare(
  options: StandaloneOptions,
  dir: StateDir,
  log: (line: string) => void,
  signal: AbortSignal,
): Promise<Prepared> {
  if (options.port !== undefined) await requireFreePort(options.port);
  requireBuilt(ownPrograms());
  const context = { log, signal };
  const external = await Promise.all(options.engineUrls.map(resolveEngine));
  const envoy = await ensureEnvoy(context);
  const s3 = options.s3 ? await ensureVersitygw(context) : undefined;
  const vllm = options.engine === "vllm" ? await ensureVllm(context) : undefined;
  const baseModelDir = await fillHub(hubRoot(dir));
  return {
    programs: { ...ownPrograms(), envoy: envoy.bin, s3: s3?.bin, vllm: vllm?.bin },
    baseModelDir,
    external,
    apiKey: options.apiKeyFile === undefined ? undefined : readApiKey(options.apiKeyFile),
  };
}

function requireBuilt(programs: ReturnType<typeof ownPrograms>): void {
  const missing = Object.values(programs).find((path) => !existsSync(path));
  if (missing !== undefined) throw new StackError(`${missing} is not there: build the programs with npm run build`);
}

/** A plan's input with ports that are free now, and the configuration files that hold them. */
export interface Laid {
  readonly input: PlanInput;
  readonly gateway: string;
  readonly s3: StackS3 | undefined;
}

/** Chooses ports and writes the configuration that depends on them. */
export async function lay(options: StandaloneOptions, prepared: Prepared, dir: StateDir): Promise<Laid> {
  const engineCount = options.engineCount + prepared.external.length;
  const ports = [...(await freePorts(6 + 2 * engineCount))];
  const next = () => ports.pop() ?? 0;
  const chosen = {
    hub: options.hub === undefined ? next() : undefined,
    s3: options.s3 ? next() : undefined,
    grpc: next(),
    gatewayMetrics: next(),
    envoy: options.port ?? next(),
    envoyAdmin: next(),
  };
  const engines = Array.from({ length: engineCount }, (_, i) => slot(i, prepared.external[i], next));
  const s3 = chosen.s3 === undefined ? undefined : s3Account(chosen.s3);
  const paths = stackPaths(dir, prepared.baseModelDir);
  const input: PlanInput = {
    engine: options.engine,
    engines,
    engineArgs: options.engineArgs,
    apiKey: prepared.apiKey,
    adaptersDir: options.adapters,
    hubUrl: options.hub ?? `http://127.0.0.1:${chosen.hub}`,
    s3,
    ports: chosen,
    programs: prepared.programs,
    paths,
  };
  await writeConfig(input);
  return { input, gateway: `http://127.0.0.1:${chosen.envoy}`, s3 };
}

function slot(index: number, external: ExternalEngine | undefined, next: () => number): EngineSlot {
  const port = external?.port ?? next();
  return { name: `engine-${index + 1}`, url: external?.url ?? `http://127.0.0.1:${port}`, port, runtimePort: next() };
}

/**
 * A new secret at every start: it is good for this server alone, and dies with it. The key's name stays, for the server writes it down as
 * the owner of a bucket, which the next start finds.
 */
function s3Account(port: number): StackS3 {
  return {
    endpoint: `http://127.0.0.1:${port}`,
    accessKeyId: "AIBRIXLOCALSTACK",
    secretAccessKey: randomBytes(24).toString("base64url"),
    bucket: S3_BUCKET,
    region: "us-east-1",
  };
}

async function writeConfig(input: PlanInput): Promise<void> {
  const { paths, ports, engines, s3 } = input;
  const folders = [...(s3 === undefined ? [] : [paths.s3Data, paths.s3Iam]), ...engines.map((e) => `${paths.artifacts}/${e.name}`)];
  for (const path of folders) await mkdir(path, { recursive: true });
  await rm(paths.envoyConfig, { force: true });
  const bootstrap = envoyBootstrap({
    listenPort: ports.envoy,
    adminPort: ports.envoyAdmin,
    extProc: { host: "127.0.0.1", port: ports.grpc },
    engines: engines.map(({ url, port }) => ({ host: new URL(url).hostname.replace(/^\[|\]$/g, ""), port })),
  });
  await writeFile(paths.envoyConfig, JSON.stringify(bootstrap, null, 2));
  await writeFile(paths.endpointsConfig, endpointsConfig(input));
}
