import { CONTROLLER_MANAGER } from "@aibrix/api";
import type { BackoffOptions, Controller, Done, KubeClient, Log, ReflectorTiming } from "@aibrix/kube";
import { EventRecorder, keyOf, runAsLeader } from "@aibrix/kube";
import { selecting } from "./cache/adapter-index.ts";
import { Placements } from "./cache/placements.ts";
import { Caches } from "./caches.ts";
import type { Config } from "./config.ts";
import { enginesController } from "./endpoints/engines-controller.ts";
import { type Connect, connectDirectly } from "./engines/agent.ts";
import { PodCalls } from "./engines/calls.ts";
import { AgentPool } from "./engines/pool.ts";
import { HEALTH_BOUNDS, type HealthBounds, notAlive, notReady, type QueueHealth } from "./health.ts";
import { Leftovers } from "./leftovers/leftovers.ts";
import type { ControllerMetrics } from "./metrics.ts";
import { adapterController } from "./model-adapter/adapter-controller.ts";
import { Memories } from "./model-adapter/memory.ts";
import { StatusWriter } from "./model-adapter/status-writer.ts";
import { type Bounds, boundsOf, type ModelAdapterObject } from "./model-adapter/types.ts";
import type { PodFacts } from "./pods/facts.ts";
import { Overcommitment } from "./pods/overcommitment.ts";
import { keepHttpRoutes, sweepHttpRoutes } from "./routes/http-routes.ts";
import { SecretReader } from "./secrets/secrets.ts";
import { TrialMetrics } from "./trials/trial-metrics.ts";

/** Clocks, in milliseconds. Tests set small ones; production leaves them. */
export interface Timing {
  readonly secretMaxAgeMs?: number;
  readonly sidecarSilenceMs?: number;
  readonly directPeriodMs?: number;
  readonly bounds?: Partial<Bounds>;
  readonly httpRoutesAgainMs?: number;
  readonly health?: Partial<HealthBounds>;
  readonly callBackoff?: BackoffOptions;
  readonly callSettleMs?: number;
  readonly trialPeriodMs?: number;
  readonly reflector?: Partial<ReflectorTiming>;
  readonly lease?: { readonly leaseMs: number; readonly renewMs: number; readonly retryMs: number };
}

export interface ControllerDeps {
  readonly client: KubeClient;
  readonly metrics: ControllerMetrics;
  readonly log: Log;
  /** How to reach a pod; its own address where absent. */
  readonly connect?: Connect;
  readonly timing?: Timing;
}

/** The program without its process: what it needs comes in, and it runs until a signal aborts. */
export class ControllerManager {
  readonly #config: Config;
  readonly #deps: ControllerDeps;
  readonly #caches: Caches;
  readonly #bounds: HealthBounds;
  #queues: readonly QueueHealth[] = [];
  /** When the lease was renewed the last time, on the steady clock; `undefined` while this process does not lead. */
  #renewedMs: number | undefined;

  constructor(config: Config, deps: ControllerDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#caches = new Caches({
      client: deps.client,
      namespace: config.namespace,
      systemNamespace: config.systemNamespace,
      log: deps.log,
      timing: deps.timing?.reflector,
    });
    deps.metrics.observeCaches(() => this.#caches.reflectors.map(({ resource, state }) => ({ resource, connected: state.connected })));
    this.#bounds = { ...HEALTH_BOUNDS, ...deps.timing?.health };
  }

  /** Why it is not ready: its caches are not filled, or have not been told of changes for a while. Whether it leads or waits. */
  notReady(): string | undefined {
    return notReady(this.#caches.reflectors, this.#bounds, performance.now());
  }

  /** Why it should be started anew: it has work and gets none done, or holds no lease and goes on. */
  notAlive(): string | undefined {
    return notAlive(this.#queues, this.#renewedMs, this.#bounds, performance.now());
  }

  /**
   * Watches, and acts while it leads.
   *
   * @throws LeaseLostError where another process may lead: this one must end
   */
  async run(signal: AbortSignal): Promise<void> {
    const { client, log, metrics, timing } = this.#deps;
    const { leaderElect, systemNamespace, identity } = this.#config;
    const stop = new AbortController();
    const watching = this.#caches.run(stop.signal);
    const onDropped = () => metrics.eventDropped();
    const events = new EventRecorder({ client, controller: `model.aibrix.ai/${CONTROLLER_MANAGER}`, instance: identity, log, onDropped });
    try {
      if (!leaderElect) return await this.#lead(events, signal);
      const lease = { namespace: systemNamespace, name: leaseName(this.#config.namespace), identity, ...timing?.lease };
      const onRenewed = () => {
        this.#renewedMs = performance.now();
      };
      const onChange = (leads: boolean) => {
        metrics.leading(leads);
        if (!leads) this.#renewedMs = undefined;
      };
      await runAsLeader({ client, ...lease, log, onChange, onRenewed }, (leading) => this.#lead(events, leading), signal);
    } finally {
      // The lease is given back by now: nobody waits for what is still to be told.
      await events.close(AbortSignal.timeout(3_000));
      stop.abort();
      await watching;
    }
  }

  async #lead(events: EventRecorder, signal: AbortSignal): Promise<void> {
    const { client, log, metrics, connect = connectDirectly, timing } = this.#deps;
    const { systemNamespace, namespace, workers, runtimeSidecar, runtimeTokenFile, httpRouteGateway } = this.#config;
    const caches = this.#caches;
    try {
      await Promise.all(caches.reflectors.map((r) => r.synced(signal)));
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    const leftovers = new Leftovers({ client, namespace: systemNamespace, watched: namespace, log });
    // What they say of a pod decides about adapters there: first.
    await leftovers.load(signal);
    // Ended meanwhile: what is run below takes that for caches that are never filled.
    if (signal.aborted) return;
    const placements = new Placements();
    let adapters: Controller | undefined;
    const changed = (pod: PodFacts, names: readonly string[] | undefined) => {
      for (const name of names ?? namesOn(pod, agents, placements, leftovers)) adapters?.queue.add(`${pod.namespace}/${name}`);
      // One on its way to be ready is told what it should have before it is: nothing is placed there yet.
      const found = names === undefined && !pod.ready ? caches.pods.get(pod.key) : undefined;
      if (found !== undefined) for (const adapter of selecting(caches.adapters, [found])) adapters?.queue.add(keyOf(adapter));
    };
    const agents = new AgentPool({
      runtimeSidecar,
      runtimeTokenFile,
      connect,
      log,
      onChange: changed,
      silenceMs: timing?.sidecarSilenceMs,
      directPeriodMs: timing?.directPeriodMs,
    });
    const calls = new PodCalls({
      log,
      backoff: timing?.callBackoff,
      settleMs: timing?.callSettleMs,
      signal,
      onDone: (pod, name, outcome) => {
        metrics.podCall(outcome);
        adapters?.queue.add(`${pod.namespace}/${name}`);
      },
      onCancelled: (pod, name) => adapters?.queue.add(`${pod.namespace}/${name}`),
    });
    const { name: metricsService, port: metricsPort } = this.#config.gatewayMetrics;
    const trials = new TrialMetrics({
      client,
      service: { namespace: systemNamespace, name: metricsService, port: metricsPort },
      connect,
      log,
      onChange: (key) => adapters?.queue.add(key),
      periodMs: timing?.trialPeriodMs,
      signal,
    });
    const told: Pick<EventRecorder, "record"> = {
      record(resource, object, event) {
        metrics.told(event);
        events.record(resource, object, event);
      },
    };
    const deps = {
      client,
      caches,
      agents,
      calls,
      placements,
      memories: new Memories(),
      leftovers,
      secrets: new SecretReader(client, timing?.secretMaxAgeMs),
      events: told,
      bounds: { ...boundsOf(this.#config.drainGraceMs), ...timing?.bounds },
      log,
      overcommitment: new Overcommitment(),
      statuses: new StatusWriter(client, log),
      metrics,
      probe: this.#config.probe,
      httpRoutes: httpRouteGateway !== undefined,
      trials,
      requeueAfter: (key: string, ms: number) => adapters?.queue.addAfter(key, ms),
    };
    const onReconcile = (name: string) => (done: Done) => metrics.reconciled(name, done);
    adapters = adapterController({ deps, workers, log, onReconcile: onReconcile("modeladapter"), signal });
    const engines = enginesController({
      client,
      caches,
      namespace: systemNamespace,
      watched: namespace,
      log,
      onReconcile: onReconcile("engines"),
    });
    const [adapterQueue, engineQueue] = [adapters.queue, engines.queue];
    this.#queues = [
      { name: "modeladapter", queue: adapterQueue },
      { name: "engines", queue: engineQueue },
    ];
    metrics.observe({
      phases: () => [...caches.adapters.values()].map((a: ModelAdapterObject) => a.status?.phase),
      queueDepth: () => ({ modeladapter: adapterQueue.depth, engines: engineQueue.depth }),
      pods: () => agents.size,
    });
    const routes = {
      client,
      caches,
      namespace,
      events: told,
      log,
      onReconcile: onReconcile("httproutes"),
      timing: timing?.reflector,
      againMs: timing?.httpRoutesAgainMs,
    };
    const routing = httpRouteGateway === undefined ? sweepHttpRoutes(routes, signal) : keepHttpRoutes(routes, httpRouteGateway, signal);
    try {
      await Promise.all([adapters.run(signal), engines.run(signal), routing]);
    } finally {
      await calls.close();
      await agents.close();
      await trials.close();
      this.#queues = [];
    }
  }
}

function namesOn(pod: PodFacts, agents: AgentPool, placements: Placements, leftovers: Leftovers): Set<string> {
  const names = new Set([...placements.adaptersOn(pod.key)].map((key) => key.slice(key.indexOf("/") + 1)));
  for (const name of agents.namesOn(pod.key)) names.add(name);
  // That it is listed no more says that nothing is left.
  for (const name of leftovers.namesOn(pod.uid)) names.add(name);
  return names;
}

/** Controllers that look at different namespaces do not wait for each other. */
function leaseName(watched: string | undefined): string {
  return watched === undefined ? CONTROLLER_MANAGER : `${CONTROLLER_MANAGER}-${watched}`;
}
