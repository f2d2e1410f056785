import { run } from "../parts/run.ts";
import type { ClusterHandle } from "./provider.ts";

/** A proxy of the user's leads to other machines, never to a cluster on this one. */
const NO_PROXY = { HTTPS_PROXY: undefined, https_proxy: undefined, HTTP_PROXY: undefined, http_proxy: undefined };

/** kubectl for one cluster. */
export class Kubectl {
  readonly program: string;
  readonly kubeconfig: string;
  readonly #env: Readonly<Record<string, undefined>>;

  constructor({ kubectl, kubeconfig, kind }: Pick<ClusterHandle, "kubectl" | "kubeconfig" | "kind">) {
    this.program = kubectl;
    this.kubeconfig = kubeconfig;
    this.#env = kind === "kubeconfig" ? {} : NO_PROXY;
  }

  /**
   * Runs it to its end and gives what it printed.
   * @throws CommandError with what it said
   */
  run(args: readonly string[], signal: AbortSignal, timeoutMs = 60_000): Promise<string> {
    return run({ argv: [this.program, "--kubeconfig", this.kubeconfig, ...args], env: this.#env, timeoutMs }, signal);
  }

  /** The items of `kubectl get`. */
  async list<T>(args: readonly string[], signal: AbortSignal, timeoutMs = 15_000): Promise<readonly T[]> {
    const { items } = JSON.parse(await this.run(["get", ...args, "-o", "json"], signal, timeoutMs)) as { items: readonly T[] };
    return items;
  }
}
