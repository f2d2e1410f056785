import { DEFAULT_ENGINE_PORT, LABEL_MODEL_PORT, RUNTIME_CONTAINER } from "./labels.ts";

type Labels = Readonly<Record<string, string>>;

/** A port of a container, as Kubernetes has it. */
export interface DeclaredPort {
  readonly name?: string;
  readonly containerPort: number;
  readonly protocol?: string;
}

/** What of a container tells the engine's. */
export interface DeclaredContainer {
  readonly name: string;
  readonly image?: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly ports?: readonly DeclaredPort[];
}

const ENGINE_PORT_NAMES = ["http", "serve"];

/**
 * Where the engine of a pod answers: by the pod's label, the adapter's label, the port that its container declares, or else
 * {@link DEFAULT_ENGINE_PORT}. The controller and the gateway both go by this. Pure. A label that is no port counts as absent.
 *
 * @param podLabels - of the engine's pod
 * @param declared - see {@link declaredPort}
 * @param adapterLabels - of the ModelAdapter in question; absent for the base model
 */
export function enginePort(podLabels: Labels, declared: number | undefined, adapterLabels: Labels = {}): number {
  return portOf(podLabels[LABEL_MODEL_PORT]) ?? portOf(adapterLabels[LABEL_MODEL_PORT]) ?? declared ?? DEFAULT_ENGINE_PORT;
}

/** The port of an adapter's Service: its own label, or {@link DEFAULT_ENGINE_PORT}. */
export function adapterPort(adapterLabels: Labels = {}): number {
  return portOf(adapterLabels[LABEL_MODEL_PORT]) ?? DEFAULT_ENGINE_PORT;
}

/**
 * The engine's container: of those that are not the sidecar the first that runs vLLM by its name, image or command, or else the first.
 * `undefined` where there is nothing but the sidecar.
 *
 * @param containers - the pod's ordinary ones
 */
export function engineContainer<T extends DeclaredContainer>(containers: readonly T[]): T | undefined {
  const others = containers.filter((c) => c.name !== RUNTIME_CONTAINER);
  return others.find(runsVllm) ?? others[0];
}

/** The port that a container says by itself: its only one, or the one named http or serve. */
export function declaredPort(container: DeclaredContainer | undefined): number | undefined {
  const ports = (container?.ports ?? []).filter((p) => (p.protocol ?? "TCP") === "TCP");
  if (ports.length === 1) return ports[0]?.containerPort;
  return ports.find((p) => ENGINE_PORT_NAMES.some((name) => p.name === name || p.name?.startsWith(`${name}-`)))?.containerPort;
}

/** A whole number from 1 to 65535, or `undefined`. */
export function portOf(text: string | undefined): number | undefined {
  const port = /^\d{1,5}$/.test(text ?? "") ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}

function runsVllm({ name, image = "", command = [], args = [] }: DeclaredContainer): boolean {
  return [name, image, ...command, ...args].some((text) => /\bvllm\b/.test(text));
}
