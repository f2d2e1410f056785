import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Timing } from "../../src/index.ts";
import { ApiProxy, type Passing } from "./api-proxy.ts";
import type { ChildOptions } from "./controller-child.ts";
import type { Asked } from "./fake-pods.ts";
import type { World } from "./world.ts";

const CHILD = fileURLToPath(new URL("./controller-child.ts", import.meta.url));

/** A place in the flow at which the process dies: at a call to the API server or to a pod, before it has an effect or after. */
export type Point =
  | { readonly at: "api"; readonly when: "before" | "after"; readonly call: (call: Passing) => boolean }
  | { readonly at: "pod"; readonly when: "before" | "after"; readonly call: (asked: Asked) => boolean };

type Started = Pick<ChildOptions, "flags" | "timing">;

/** A controller process that is killed by SIGKILL at named points, and started again. */
export class CrashingController implements AsyncDisposable {
  readonly #world: World;
  readonly #proxy: ApiProxy;
  readonly #options: Started;
  #child: ChildProcess | undefined;
  #point: Point | undefined;
  /** How often it was killed. */
  kills = 0;

  private constructor(world: World, proxy: ApiProxy, options: Started) {
    this.#world = world;
    this.#proxy = proxy;
    this.#options = options;
    proxy.judge = async (call) => ((await this.#dies("api", "before", call)) ? { code: 503, message: "it is dead" } : undefined);
    proxy.answered = async (call) => void (await this.#dies("api", "after", call));
    world.pods.judge = async (asked) => {
      if (await this.#dies("pod", "before", asked)) return "drop";
      // Dead before it reads an answer, and what it asked for is done all the same.
      await this.#dies("pod", "after", asked);
      return "pass";
    };
  }

  static async create(world: World, flags: readonly string[], timing: Timing): Promise<CrashingController> {
    return new CrashingController(world, await ApiProxy.start(world.plane), { flags, timing });
  }

  /** Starts it, unless it runs. */
  async start(): Promise<void> {
    if (this.#child !== undefined) return;
    const options: ChildOptions = {
      ...this.#options,
      kubeconfig: await this.#world.controllerKubeconfig(),
      server: this.#proxy.url,
      pods: this.#world.pods.url,
    };
    this.#child = fork(CHILD, [JSON.stringify(options)], { execArgv: ["--conditions=@aibrix/source"] });
  }

  /** Lets it die at the next such call. */
  arm(point: Point): void {
    this.#point = point;
  }

  async #dies(at: "api" | "pod", when: "before" | "after", call: Passing | Asked): Promise<boolean> {
    const point = this.#point;
    if (point?.at !== at || point.when !== when || !(point.call as (call: Passing | Asked) => boolean)(call)) return false;
    this.#point = undefined;
    await this.#kill();
    this.kills++;
    return true;
  }

  async #kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    this.#child = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kill();
    this.#world.pods.judge = async () => "pass";
    await this.#proxy[Symbol.asyncDispose]();
  }
}
