import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { programFile } from "@aibrix/devcluster";
import type { ApiProxy } from "./api-proxy.ts";
import type { World } from "./world.ts";

let count = 0;

/** The controller as a process of its own, under its service account. */
export class ControllerProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #port: number;
  readonly #ended: Promise<number>;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.#port = port;
    this.#ended = new Promise((resolve) => child.on("exit", (code) => resolve(code ?? -1)));
  }

  static async start(world: World, flags: readonly string[], proxy?: ApiProxy): Promise<ControllerProcess> {
    const port = await freePort();
    const kubeconfig = await world.controllerKubeconfig(undefined, proxy);
    const all = [...flags, `--health-probe-bind-address=127.0.0.1:${port}`, `--kubeconfig=${kubeconfig}`];
    const env = {
      ...process.env,
      POD_NAME: `manager-${count++}`,
      POD_NAMESPACE: "aibrix-system",
      LOG_LEVEL: process.env.TEST_LOG ?? "error",
    };
    const child = spawn(process.execPath, [programFile("controller"), ...all], { env, stdio: ["ignore", "ignore", "inherit"] });
    return new ControllerProcess(child, port);
  }

  /** Status of a path of its health server; 0 while nobody answers. */
  async get(path: string): Promise<number> {
    try {
      return (await fetch(`http://127.0.0.1:${this.#port}${path}`, { signal: AbortSignal.timeout(5_000) })).status;
    } catch {
      return 0;
    }
  }

  /** Its exit code, once it has ended. */
  get ended(): Promise<number> {
    return this.#ended;
  }

  /** Ends it as Kubernetes would; its exit code. */
  async stop(): Promise<number> {
    this.#child.kill("SIGTERM");
    return await this.#ended;
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}
