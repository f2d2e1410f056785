import { RUNTIME_CONTAINER } from "@aibrix/api";
import type { Container, Pod } from "@aibrix/kube";

/** All containers that run as long as the pod does: the ordinary ones, and init containers that are restarted for ever. */
function lasting(pod: Pod): readonly Container[] {
  return [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter((c) => c.restartPolicy === "Always")];
}

/** The sidecar's container; `undefined` where the pod has none. */
export function runtimeContainer(pod: Pod): Container | undefined {
  return lasting(pod).find((c) => c.name === RUNTIME_CONTAINER);
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
