import { rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { clusterImages } from "../images/catalog.ts";
import { ensureImages } from "../images/ensure-images.ts";
import type { ClusterOptions } from "../stack/cluster-options.ts";
import { commandTexts, shortPath } from "../stack/commands.ts";
import { clock, partLine } from "../stack/lines.ts";
import { Logs } from "../stack/logs.ts";
import type { PartEvent, PartSpec } from "../stack/part.ts";
import { DEFAULT_DIR, WORKSPACE } from "../stack/paths.ts";
import type { RunRecord } from "../stack/run-file.ts";
import type { StackHooks } from "../stack/run-stack.ts";
import { writeStackFile } from "../stack/stack-file.ts";
import { createClusterDirs, kubectlLink, logFile, type StateDir, stateDir } from "../stack/state-dir.ts";
import { Supervisor } from "../stack/supervisor.ts";
import { takeFolder } from "../stack/take-folder.ts";
import { aborted, span } from "../stack/time.ts";
import { chooseCluster, lookAtMachine } from "./choose.ts";
import { deploy } from "./deploy.ts";
import { deploymentFailure } from "./diagnose.ts";
import { installEnvoyGateway } from "./envoy-gateway.ts";
import { gatewayUrl } from "./gateway-address.ts";
import { Kubectl } from "./kubectl.ts";
import { clusterSteps } from "./next-steps.ts";
import { writeNote } from "./note.ts";
import { GATEWAY_ENVOY } from "./platform.ts";
import type { ClusterHandle, ClusterKind } from "./provider.ts";
import { providerOf, removeCluster } from "./providers.ts";
import { NotAvailable, untilAvailable, untilGatewayAnswers } from "./wait.ts";

/**
 * Runs the platform on a Kubernetes cluster until the signal aborts, and takes down what was started. Whatever happens, no process and no
 * `stack.json` is left, and nothing of the cluster but what its provider leaves to the user.
 * @throws UsageError where this machine cannot have the cluster; StackError or PartError where something does not start, with the remedy
 */
export async function runCluster(options: ClusterOptions, hooks: StackHooks, signal: AbortSignal): Promise<void> {
  const dir = stateDir(options.dir);
  const kind = chooseCluster(options, await lookAtMachine(signal));
  const record = await takeFolder(dir, commandTexts(dir.root, DEFAULT_DIR), hooks.say);
  hooks.onTaken();
  try {
    await new ClusterRun(options, kind, hooks, dir, record).run(signal);
  } finally {
    record.remove();
  }
}

/** A cluster with the platform. */
interface ReadyCluster extends ClusterHandle {
  readonly gateway: string;
}

class ClusterRun {
  readonly #options: ClusterOptions;
  readonly #kind: ClusterKind;
  readonly #hooks: StackHooks;
  readonly #dir: StateDir;
  readonly #record: RunRecord;
  readonly #supervisor: Supervisor;
  readonly #logs: Logs;
  readonly #startedMs = performance.now();
  #ready: ReadyCluster | undefined;

  constructor(options: ClusterOptions, kind: ClusterKind, hooks: StackHooks, dir: StateDir, record: RunRecord) {
    this.#options = options;
    this.#kind = kind;
    this.#hooks = hooks;
    this.#dir = dir;
    this.#record = record;
    this.#logs = new Logs(dir);
    this.#supervisor = new Supervisor({
      stackDir: dir.root,
      record: (name, process) => {
        record.set(name, process);
        if (this.#ready !== undefined) this.#writeStackFile(this.#ready);
      },
      log: (name, chunk) => this.#logs.write(name, chunk),
      report: (part, event) => this.#report(part, event),
    });
    hooks.onKill(() => this.#supervisor.kill());
  }

  async run(signal: AbortSignal): Promise<void> {
    let failure: unknown;
    try {
      rmSync(this.#dir.stackFile, { force: true });
      createClusterDirs(this.#dir);
      writeNote(this.#dir, { kind: this.#kind });
      const cluster = await this.#bringUp(signal);
      this.#linkKubectl(cluster);
      this.#ready = cluster;
      this.#writeStackFile(cluster);
      this.#sayReady(cluster);
      this.#hooks.onReady();
      await aborted(signal);
      this.#say("stopping");
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      await this.#takeDown(failure);
    }
  }

  /** @param failure - why, where it is no ordinary end: it is what the user has to know, also where the removal fails too */
  async #takeDown(failure: unknown): Promise<void> {
    this.#ready = undefined;
    rmSync(this.#dir.stackFile, { force: true });
    await this.#supervisor.stop();
    this.#logs.close();
    try {
      await removeCluster(this.#dir);
    } catch (error) {
      if (failure === undefined) throw error;
      this.#say(`the cluster could not be removed, try again with ${this.#commands().stop}: ${(error as Error).message}`);
    }
  }

  async #bringUp(signal: AbortSignal): Promise<ReadyCluster> {
    const say = (line: string) => this.#say(line);
    const provider = await providerOf(this.#kind, this.#options.kubeconfig);
    const parts = { log: say, signal };
    const cluster = await provider.start({ supervisor: this.#supervisor, dir: this.#dir, say, parts }, signal);
    say(`cluster ready after ${this.#elapsed()}`);
    if (cluster.registry !== undefined) await ensureImages(clusterImages(this.#options.engine), cluster.registry, parts);
    const kubectl = new Kubectl(cluster);
    const { imageRegistry } = this.#options;
    await installEnvoyGateway(kubectl, this.#dir, imageRegistry, parts, signal);
    const manifests = await deploy(kubectl, this.#dir, imageRegistry, signal);
    say(`manifests applied after ${this.#elapsed()}`);
    if (cluster.registry === undefined) say(`the cluster pulls ${manifests.images.join(", ")}`);
    try {
      await untilAvailable(kubectl, [...manifests.deployments, GATEWAY_ENVOY], say, signal);
    } catch (error) {
      if (!(error instanceof NotAvailable)) throw error;
      throw await deploymentFailure(
        kubectl,
        this.#dir,
        error.deployments,
        { start: this.#commands().start, images: imagesCommand(this.#options) },
        signal,
      );
    }
    const gateway = await gatewayUrl(kubectl, cluster, say, signal);
    await untilGatewayAnswers(gateway, GATEWAY_ENVOY, signal);
    return { ...cluster, gateway };
  }

  /** `kubectl` for the user's PATH, in the release that fits the cluster. */
  #linkKubectl({ kubectl }: ClusterHandle): void {
    rmSync(kubectlLink(this.#dir), { force: true });
    symlinkSync(kubectl, kubectlLink(this.#dir));
  }

  #elapsed(): string {
    return span(performance.now() - this.#startedMs);
  }

  #commands() {
    const { cluster, kubeconfig, imageRegistry, engine } = this.#options;
    const flags = [
      "--kubernetes",
      ...(cluster === undefined ? [] : ["--cluster", cluster]),
      ...(kubeconfig === undefined ? [] : ["--kubeconfig", kubeconfig]),
      ...(imageRegistry === undefined ? [] : ["--image-registry", imageRegistry]),
      ...(engine === "mock" ? [] : ["--engine", engine]),
    ];
    return commandTexts(this.#dir.root, DEFAULT_DIR, flags);
  }

  #say(line: string): void {
    this.#hooks.say(`${clock(new Date())}  ${line}`);
  }

  #report({ name, url }: PartSpec, event: PartEvent): void {
    this.#say(partLine(name, event, { url, log: shortPath(logFile(this.#dir, name), process.cwd()) }));
  }

  #writeStackFile(cluster: ReadyCluster): void {
    writeStackFile(this.#dir, {
      mode: "kubernetes",
      cluster: cluster.kind,
      gateway: cluster.gateway,
      kubeconfig: cluster.kubeconfig,
      kubectl: cluster.kubectl,
      engine: this.#options.engine,
      ...(cluster.registry === undefined ? {} : { registry: cluster.registry }),
      pids: this.#record.pids(),
    });
  }

  #sayReady(cluster: ReadyCluster): void {
    const lines = clusterSteps({
      gateway: cluster.gateway,
      kubeconfig: cluster.kubeconfig,
      bin: this.#dir.bin,
      samples: shortPath(join(WORKSPACE, "samples"), process.cwd()),
      imageRegistry: this.#options.imageRegistry,
      commands: this.#commands(),
      detached: this.#options.detach,
      env: process.env,
    });
    this.#say(`ready after ${this.#elapsed()}: ${cluster.gateway}`);
    for (const line of [...lines, ""]) this.#hooks.say(line);
  }
}

/** What pushes the images to where the cluster pulls them from. A cluster that is started here gets them at every start. */
function imagesCommand({ engine, imageRegistry, kubeconfig }: ClusterOptions): string {
  if (kubeconfig === undefined) return "npm run images builds them";
  const host = imageRegistry?.split("/")[0] ?? "HOST:PORT";
  return `npm run images -- --engine ${engine} --push http://${host}; --image-registry ${host} makes the cluster pull them from there`;
}
