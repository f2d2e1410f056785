import type { ModelAdapterStatus } from "@aibrix/api";
import { ENDPOINT_SLICES, type EndpointSlice, EVENTS, type KubeEvent, type KubeObject, splitKey } from "@aibrix/kube";
import { type RunningController, until, type World } from "./world.ts";

export type Adapter = KubeObject & { readonly spec: Record<string, unknown>; readonly status?: ModelAdapterStatus };

/** What tests ask about ModelAdapters. */
export class Adapters {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  async status(key: string): Promise<ModelAdapterStatus | undefined> {
    return (await this.#world.get<Adapter>("ModelAdapter", key))?.status;
  }

  /** Waits for a condition, as `kubectl wait` would. */
  async condition(key: string, type: string, value: string, reason?: string): Promise<ModelAdapterStatus> {
    return await until(`${key} has ${type}=${value} ${reason ?? ""}`, async () => {
      const s = await this.status(key);
      return s?.conditions?.some((c) => c.type === type && c.status === value && (reason === undefined || c.reason === reason))
        ? s
        : undefined;
    });
  }

  async ready(key: string): Promise<ModelAdapterStatus> {
    return await this.condition(key, "Ready", "True");
  }

  /** Why it is not ready: waits for the reason and gives the message. */
  async refusal(key: string, reason: string): Promise<string> {
    const s = await this.condition(key, "Ready", "False", reason);
    return s.conditions?.find((c) => c.type === "Ready")?.message ?? "";
  }

  async slices(key: string): Promise<EndpointSlice[]> {
    const [namespace, name] = key.split("/");
    const labelSelector = `kubernetes.io/service-name=${name}`;
    return await this.#world.admin.list(ENDPOINT_SLICES, { namespace, labelSelector }, AbortSignal.timeout(10_000));
  }

  async addresses(key: string): Promise<string[]> {
    return (await this.slices(key)).flatMap((s) => (s.endpoints ?? []).flatMap((e) => e.addresses)).sort();
  }

  async events(key: string): Promise<string[]> {
    const [namespace, name] = key.split("/");
    const all: KubeEvent[] = await this.#world.admin.list(EVENTS, { namespace }, AbortSignal.timeout(10_000));
    return all.filter((e) => e.regarding.name === name).map((e) => e.reason);
  }

  /** How many pods serve each of them, in the namespace default. */
  async counts(): Promise<{ readonly name: string; readonly ready: number }[]> {
    const all = await this.#world.admin.list(this.#world.resource("ModelAdapter"), { namespace: "default" }, AbortSignal.timeout(30_000));
    return (all as Adapter[]).map((a) => ({ name: a.metadata.name, ready: a.status?.readyReplicas ?? 0 }));
  }

  /** Waits until the controller has decided about an adapter again, some turns long, with nothing to decide. */
  async decided(key: string, controller: RunningController): Promise<void> {
    for (let turn = 0; turn < 4; turn++) {
      const before = await controller.turns();
      await this.#world.admin.mergePatch(
        this.#world.resource("ModelAdapter"),
        splitKey(key),
        { metadata: { annotations: { turn: `${turn}` } } },
        {},
        AbortSignal.timeout(30_000),
      );
      await until(`the controller has seen note ${turn} on ${key}`, async () => (await controller.turns()) > before);
    }
  }

  /** Deletes, and waits until it is gone. */
  async remove(...keys: string[]): Promise<void> {
    for (const key of keys) await this.#world.remove("ModelAdapter", key);
    for (const key of keys) {
      await until(`${key} is gone`, async () => (await this.#world.get("ModelAdapter", key)) === undefined, 60_000);
    }
  }
}
