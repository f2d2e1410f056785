import type { Container, Pod } from "@aibrix/kube";

/** Name of the sidecar's container. */
export const RUNTIME_CONTAINER = "aibrix-runtime";

const ENGINE_PORT_NAMES = ["http", "serve"];

/** All containers that run as long as the pod does: the ordinary ones, and init containers that are restarted for ever. */
function lasting(pod: Pod): readonly Container[] {
  return [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter((c) => c.restartPolicy === "Always")];
}

/** The sidecar's container; `undefined` where the pod has none. */
export function runtimeContainer(pod: Pod): Container | undefined {
  return lasting(pod).find((c) => c.name === RUNTIME_CONTAINER);
}

/**
 * The engine's container: of those that are not the sidecar the first that runs vLLM by its image or command, or else the first.
 * `undefined` where the pod has nothing but the sidecar.
 */
export function engineContainer(pod: Pod): Container | undefined {
  const others = pod.spec.containers.filter((c) => c.name !== RUNTIME_CONTAINER);
  return others.find(runsVllm) ?? others[0];
}

function runsVllm(container: Container): boolean {
  return [container.name, container.image ?? "", ...words(container)].some((text) => /\bvllm\b/.test(text));
}

/** Command and arguments as words; a shell line (`sh -c "vllm serve …"`) is split at blanks. */
export function words(container: Container): readonly string[] {
  return [...(container.command ?? []), ...(container.args ?? [])].flatMap((w) => w.split(/\s+/)).filter((w) => w !== "");
}

/** The value of `--flag value` or `--flag=value`; underscores count as dashes, as in vLLM. The last one wins. */
export function flagValue(container: Container, flag: string): string | undefined {
  const all = words(container);
  return all.reduce<string | undefined>((found, word, i) => {
    const [name = "", value] = split(word);
    if (name.replaceAll("_", "-") !== flag) return found;
    return value ?? all[i + 1] ?? found;
  }, undefined);
}

function split(word: string): readonly [string, string | undefined] {
  const at = word.indexOf("=");
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

/** A whole number from 1 to 65535, or `undefined`. */
export function portOf(text: string | undefined): number | undefined {
  const port = /^\d{1,5}$/.test(text ?? "") ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}

/** The port that a container says by itself: its only one, or the one named http or serve. */
export function declaredPort(container: Container | undefined): number | undefined {
  const ports = (container?.ports ?? []).filter((p) => (p.protocol ?? "TCP") === "TCP");
  if (ports.length === 1) return ports[0]?.containerPort;
  return ports.find((p) => ENGINE_PORT_NAMES.some((name) => p.name === name || p.name?.startsWith(`${name}-`)))?.containerPort;
}
