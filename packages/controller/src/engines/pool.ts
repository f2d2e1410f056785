import type { Log } from "@aibrix/kube";
import type { Dispatcher } from "undici";
import { enginePort, type PodFacts } from "../pods/facts.ts";
import type { Connect, PodAgent, UnloadCall } from "./agent.ts";
import { DirectAgent } from "./direct.ts";
import { podDispatcher } from "./http.ts";
import { SidecarAgent } from "./sidecar.ts";

export interface PoolOptions {
  /** Talk to the sidecar of pods that have one; else always to the engine. */
  readonly runtimeSidecar: boolean;
  /** File with the token that sidecars want. */
  readonly runtimeTokenFile?: string | undefined;
  readonly connect: Connect;
  readonly log: Log;
  /** Called when something changed on a pod: with the adapters' names, or `undefined` for all of them. */
  readonly onChange: (pod: PodFacts, names: readonly string[] | undefined) => void;
  readonly silenceMs?: number | undefined;
  readonly directPeriodMs?: number | undefined;
}

interface Running {
  readonly agent: PodAgent;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/** The agents of all pods, by pod and port. */
export class AgentPool {
  readonly #options: PoolOptions;
  readonly #dispatcher: Dispatcher = podDispatcher();
  readonly #running = new Map<string, Map<string, Running>>();
  readonly #sidecars = new WeakMap<PodFacts, Running>();

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Whether the pod's sidecar is asked, or its engine. */
  viaRuntime(pod: PodFacts): boolean {
    return this.#options.runtimeSidecar && pod.runtimePort !== undefined;
  }

  /** Where other pods ask its sidecar for contents; `undefined` without a sidecar, or without a token that lets them. */
  contentsUrl(pod: PodFacts): string | undefined {
    const { connect, runtimeTokenFile } = this.#options;
    if (runtimeTokenFile === undefined || !this.viaRuntime(pod) || pod.ip === undefined) return undefined;
    return connect(pod.ip, pod.runtimePort ?? 0);
  }

  /** Follows a pod's sidecar from now on; agents of an earlier pod or address of that name end. */
  setPod(pod: PodFacts): void {
    const alive = pod.ip !== undefined && !pod.finished;
    const here = this.#running.get(pod.key);
    for (const [id, running] of here ?? []) if (!alive || !id.startsWith(prefix(pod))) this.#end(pod.key, id, running);
    if (alive && this.viaRuntime(pod)) this.agent(pod, {});
  }

  /** Something happened to a pod's engine that a list of before says nothing of. */
  doubt(key: string, problem: string): void {
    for (const { agent } of this.#running.get(key)?.values() ?? []) agent.doubt(problem);
  }

  /** Ends all that runs for a pod. */
  removePod(key: string): void {
    for (const [id, running] of this.#running.get(key) ?? []) this.#end(key, id, running);
  }

  /** Who to ask about adapters on this pod; `undefined` while it has no address, or when it has ended. */
  agent(pod: PodFacts, adapterLabels: Readonly<Record<string, string>>): PodAgent | undefined {
    const { ip } = pod;
    if (ip === undefined || pod.finished) return undefined;
    // The usual case, and asked for every adapter with every pod: a sidecar has one port for all adapters.
    const sidecar = this.#sidecars.get(pod);
    if (sidecar !== undefined && !sidecar.stop.signal.aborted) return sidecar.agent;
    const { viaRuntime, port, id } = this.#way(pod, adapterLabels);
    let agents = this.#running.get(pod.key);
    if (agents === undefined) {
      agents = new Map();
      this.#running.set(pod.key, agents);
    }
    let running = agents.get(id);
    if (running === undefined) {
      const agent = this.#create(pod, viaRuntime, port, (names) => this.#options.onChange(pod, names));
      const stop = new AbortController();
      running = { agent, stop, ended: agent.run(stop.signal) };
      agents.set(id, running);
    }
    if (viaRuntime) this.#sidecars.set(pod, running);
    return running.agent;
  }

  /**
   * Gives an adapter up that was loaded the other way than {@link agent} goes: by the sidecar, or by a call to the engine. What is known of the
   * pod is fresh afterwards.
   *
   * @throws CallError
   */
  async release(pod: PodFacts, adapterLabels: Readonly<Record<string, string>>, call: UnloadCall, signal: AbortSignal): Promise<void> {
    const viaRuntime = !this.viaRuntime(pod);
    const port = viaRuntime ? pod.runtimePort : enginePort(pod, adapterLabels);
    if (port !== undefined) await this.#create(pod, viaRuntime, port, () => undefined).release(call, signal);
    // Where the pod went meanwhile nobody is there to look, and none is made.
    await this.#running.get(pod.key)?.get(this.#way(pod, adapterLabels).id)?.agent.refresh(signal);
  }

  /** How a pod is talked to about an adapter. */
  #way(pod: PodFacts, adapterLabels: Readonly<Record<string, string>>): { viaRuntime: boolean; port: number; id: string } {
    const viaRuntime = this.viaRuntime(pod);
    const port = viaRuntime ? (pod.runtimePort ?? 0) : enginePort(pod, adapterLabels);
    return { viaRuntime, port, id: `${prefix(pod)}${viaRuntime ? "sidecar" : "direct"}:${port}` };
  }

  #create(pod: PodFacts, viaRuntime: boolean, port: number, onChange: (names: readonly string[] | undefined) => void): PodAgent {
    const { connect, log, silenceMs, directPeriodMs, runtimeTokenFile: tokenFile } = this.#options;
    const common = { url: connect(pod.ip ?? "", port), pod: pod.key, dispatcher: this.#dispatcher, log, onChange };
    return viaRuntime
      ? new SidecarAgent({ ...common, tokenFile, ...(silenceMs === undefined ? {} : { silenceMs }) })
      : new DirectAgent({ ...common, ...(directPeriodMs === undefined ? {} : { periodMs: directPeriodMs }) });
  }

  /** Nobody wants to know about this adapter any more, on any pod of its namespace. */
  unfollow(namespace: string, name: string): void {
    for (const [key, agents] of this.#running) {
      if (key.startsWith(`${namespace}/`)) for (const { agent } of agents.values()) agent.unfollow(name);
    }
  }

  /** Whether an adapter is known to be on a pod. */
  shows(podKey: string, name: string): boolean {
    for (const { agent } of this.#running.get(podKey)?.values() ?? []) if (agent.view.adapters.has(name)) return true;
    return false;
  }

  /** Names of the adapters that are known to be on a pod. */
  *namesOn(podKey: string): Iterable<string> {
    for (const { agent } of this.#running.get(podKey)?.values() ?? []) yield* agent.view.adapters.keys();
  }

  /** How many pods are talked to. */
  get size(): number {
    return this.#running.size;
  }

  /** Ends everything. */
  async close(): Promise<void> {
    const ended = [...this.#running.values()].flatMap((agents) => [...agents.values()].map((r) => r.ended));
    for (const key of [...this.#running.keys()]) this.removePod(key);
    await Promise.all(ended);
    await this.#dispatcher.destroy();
  }

  #end(key: string, id: string, running: Running): void {
    running.stop.abort();
    const agents = this.#running.get(key);
    agents?.delete(id);
    if (agents?.size === 0) this.#running.delete(key);
  }
}

/** Another pod of the same name, or the same one with another address, is another to talk to. */
function prefix(pod: PodFacts): string {
  return `${pod.uid}/${pod.ip}/`;
}
