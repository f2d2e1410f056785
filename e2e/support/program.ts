import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

const GRACE_MS = 15_000;

/** A program of a story, which it ends itself. */
export class Program {
  readonly #name: string;
  readonly #child: ChildProcess;
  #output = "";

  constructor(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#name = [command, ...args].join(" ");
    this.#child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on("data", (chunk) => (this.#output += String(chunk)));
  }

  /** Fails with what the program wrote, if it has ended. */
  check(): void {
    if (this.#ended) throw new Error(`${this.#name} has ended:\n${this.#output.slice(-4_000)}`);
  }

  /** Ends it as Kubernetes would. @returns its exit code; `null` where it had to be killed */
  async stop(): Promise<number | null> {
    if (!this.#ended) {
      const gone = once(this.#child, "exit");
      this.#child.kill("SIGTERM");
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), GRACE_MS);
      await gone;
      clearTimeout(timer);
    }
    return this.#child.exitCode;
  }

  /** Ends it without a word, as a node does that is lost. */
  async kill(): Promise<void> {
    if (this.#ended) return;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await gone;
  }

  /** Resolves once it has ended, however that came. */
  async exited(): Promise<void> {
    if (!this.#ended) await once(this.#child, "exit");
  }

  get #ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }
}
