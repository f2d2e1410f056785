import type { Logger } from "@aibrix/service";
import type { FastifyInstance } from "fastify";
import { watchFiles } from "./adapters/files-watch.ts";
import { UseWatch } from "./adapters/in-use.ts";
import { AdapterManager } from "./adapters/manager.ts";
import { Memory } from "./adapters/memory.ts";
import { isJustStarted, RestoreGate } from "./adapters/restore-gate.ts";
import { build } from "./app.ts";
import { Checks } from "./artifact/check/checks.ts";
import { DeliveredArtifacts } from "./artifact/delivery.ts";
import { Peers } from "./artifact/sources/peer.ts";
import { ArtifactStore } from "./artifact/store/store.ts";
import { IDLE_TIMEOUT_MS } from "./artifact/transfer/receive.ts";
import { Transfers } from "./artifact/transfer/transfers.ts";
import { wallTime } from "./clock.ts";
import type { Config } from "./config.ts";
import { Egress } from "./egress/egress.ts";
import type { Engine } from "./engine/engine.ts";
import { KeyRing } from "./engine/key-ring.ts";
import { ENGINE_UNSEEN, EngineObserver, engineStatus } from "./engine/observer.ts";
import { VllmEngine } from "./engine/vllm.ts";
import { Feed } from "./feed.ts";
import { ManifestFolder } from "./manifests/folder.ts";
import { createMetrics } from "./metrics.ts";
import { ModelDownloads } from "./models/downloads.ts";

export interface Runtime {
  readonly app: FastifyInstance;
  /** Ends everything but what is in the engine. */
  close(): Promise<void>;
}

/**
 * Puts the parts together and starts what runs in the background; the caller listens.
 *
 * @throws where the artifacts folder cannot be used
 */
export async function createRuntime(config: Config, deps: { readonly env: NodeJS.ProcessEnv; readonly log: Logger }): Promise<Runtime> {
  const { env, log } = deps;
  const now = () => performance.now();
  const closing = new AbortController();
  const { signal } = closing;
  const metrics = createMetrics();
  const { podFolder, cache: bounds } = config;
  const storeIn = (dir: string) => new ArtifactStore(dir, { podFolder, bounds, metrics, log });
  const store = storeIn(config.artifactsDir);
  await store.open();
  const memory = new Memory(store.ownDir, log);
  await memory.open();

  const engine = createEngine(config);
  const keys = new KeyRing(config.engineApiKeyFile);
  await keys.reload();
  const observer = new EngineObserver({ engine, keys, log });
  const feed = new Feed(engineStatus(engine, ENGINE_UNSEEN, config.maxLoraRank));
  observer.onChange((view) => feed.setEngine(engineStatus(engine, view, config.maxLoraRank)));
  const egress = new Egress(config.allowedHosts, env, IDLE_TIMEOUT_MS);
  const transfers = new Transfers(config.transfer, egress, (bytes) => metrics.downloadedBytes.inc(bytes));
  const peers = config.tokenFile === undefined ? undefined : new Peers(config.tokenFile);
  const artifacts = new DeliveredArtifacts({
    peers,
    store,
    storeIn,
    env,
    metrics,
    egress,
    transfers,
    onFolder: (dir) => memory.addFolder(dir),
    onFound: (contents) => memory.adopt(contents),
    log,
  });
  artifacts.reopen(memory.folders);
  const manager = new AdapterManager({
    engine,
    observer,
    artifacts,
    store: artifacts,
    memory,
    keys,
    metrics,
    maxLoraRank: config.maxLoraRank,
    probe: config.probe,
    feed,
    log,
    now,
    timeOf: wallTime(now, Date.now),
    random: Math.random,
  });
  manager.restore();
  const { adaptersDir: dir, podLabels } = config;
  const folder = dir === undefined ? undefined : new ManifestFolder({ dir, podLabels, manager, observer, feed, log });
  await folder?.open();
  manager.sweepOrphans();
  const gate = new RestoreGate(manager.names(), {
    // Elsewhere no controller declares anything, whoever follows.
    isNewPod: env.KUBERNETES_SERVICE_HOST !== undefined && !memory.wasReady,
    isNewEngine: ({ bootId }) => isJustStarted(bootId === undefined ? undefined : engine.startedAtMs(bootId), Date.now()),
    onFirstReady: () => void memory.setReady(),
    onRestored: (ms) => metrics.restoreSeconds.observe(ms / 1000),
  });
  const isSettled = (name: string) => {
    const state = feed.adapter(name)?.state;
    return state === undefined || state === "Serving" || state === "Failed";
  };
  observer.onChange((view) => {
    gate.onEngine(view, manager.names());
    gate.onChange(isSettled);
  });
  feed.onFollowed = () => gate.onFollowed();
  feed.subscribe((event) => {
    gate.onChange(isSettled);
    if (event.type === "ADAPTER" && !isSettled(event.object.lora_name)) gate.onDeclared(event.object.lora_name);
  });

  const uses = new UseWatch({ engine, observer, memory, log, now, onPage: (page, askedMs) => manager.lookedAt(page, askedMs) });
  const background = [observer.run(signal), folder?.run(signal), uses.run(signal), watchFiles(manager, signal)];
  const checks = new Checks({ env, folders: store, egress, transfers });
  const downloads = new ModelDownloads({ modelsDir: config.modelsDir, env, egress, transfers, log });
  const app = build({
    engine,
    observer,
    manager,
    checks,
    contents: artifacts,
    downloads,
    maxLoraRank: config.maxLoraRank,
    feed,
    notReady: () => gate.probe(observer.view),
    metrics,
    log,
    tokenFile: config.tokenFile,
    closing: signal,
  });
  return {
    app,
    close: async () => {
      closing.abort();
      await app.close();
      await manager.close();
      await downloads.close();
      await Promise.allSettled(background);
      await artifacts.close();
      await transfers.close();
      await peers?.close();
      await egress.close();
      await engine.close();
    },
  };
}

function createEngine(config: Config): Engine {
  switch (config.engineKind) {
    case "vllm":
      return new VllmEngine(config.engineEndpoint);
  }
}
