import { run } from "../parts/run.ts";

/** kubectl for one cluster. */
export class Kubectl {
  readonly program: string;
  readonly kubeconfig: string;

  constructor(program: string, kubeconfig: string) {
    this.program = program;
    this.kubeconfig = kubeconfig;
  }

  /**
   * Runs it to its end and gives what it printed.
   * @throws CommandError with what it said
   */
  run(args: readonly string[], signal: AbortSignal, timeoutMs = 60_000): Promise<string> {
    return run({ argv: [this.program, "--kubeconfig", this.kubeconfig, ...args], timeoutMs }, signal);
  }

  /** The items of `kubectl get`. */
  async list<T>(args: readonly string[], signal: AbortSignal, timeoutMs = 15_000): Promise<readonly T[]> {
    const { items } = JSON.parse(await this.run(["get", ...args, "-o", "json"], signal, timeoutMs)) as { items: readonly T[] };
    return items;
  }
}
