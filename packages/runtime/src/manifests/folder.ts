import { type FSWatcher, watch } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ManifestProblem } from "@aibrix/api";
import { type Logger, sleep } from "@aibrix/service";
import pLimit from "p-limit";
import type { AdapterManager } from "../adapters/manager.ts";
import type { EngineObserver } from "../engine/observer.ts";
import { messageOf } from "../errors.ts";
import type { Feed } from "../feed.ts";
import { type FileContent, parseManifests } from "./parse.ts";
import { type Resolved, resolveManifests } from "./resolve.ts";

/** Wait after a change, for an editor to finish writing, in milliseconds. */
const SETTLE_MS = 50;
/** Not every file system tells of changes (NFS does not): the folder is looked through again and again too. */
const RESCAN_PERIOD_MS = 2_000;
const MANIFEST_FILE = /^[^.].*\.(ya?ml|json)$/;
const MAX_FILE_BYTES = 8 * 1024 * 1024;

export interface FolderDeps {
  readonly dir: string;
  readonly podLabels: Readonly<Record<string, string>>;
  readonly manager: AdapterManager;
  readonly observer: EngineObserver;
  readonly feed: Feed;
  readonly log: Logger;
}

interface KnownFile {
  readonly stamp: string;
  readonly content: FileContent;
}

/** The folder of ModelAdapter manifests: what it declares is declared, as long as it is there. */
export class ManifestFolder {
  readonly #deps: FolderDeps;
  readonly #one = pLimit(1);
  #files = new Map<string, KnownFile>();
  #folderProblem: ManifestProblem | undefined;
  #keys: Resolved["keys"] = new Map();
  /** Manifests that the first look found, by key and revision. */
  #restored: ReadonlySet<string> | undefined;
  #logged = new Set<string>();

  constructor(deps: FolderDeps) {
    this.#deps = deps;
    let seen = "";
    deps.observer.onChange((view) => {
      const now = JSON.stringify([view.baseModels, view.unauthorized, view.message]);
      if (now === seen || this.#restored === undefined) return;
      seen = now;
      this.#apply();
    });
  }

  /** Reads the folder once. Afterwards everything in it is declared. */
  async open(): Promise<void> {
    await this.#scan();
    this.#restored = new Set([...this.#files.values()].flatMap((f) => f.content.adapters.map((a) => `${a.key}@${a.revision}`)));
    this.#apply();
  }

  /** Follows the folder until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    // An event during a look is not lost: it ends the next wait before it begins.
    let changed = new AbortController();
    const watcher = this.#watch(() => changed.abort());
    try {
      while (!signal.aborted) {
        const waited = await sleep(RESCAN_PERIOD_MS, AbortSignal.any([signal, changed.signal]));
        changed = new AbortController();
        if (!waited) await sleep(SETTLE_MS, signal);
        while (!signal.aborted && (await this.#scan())) await sleep(SETTLE_MS, signal);
        if (!signal.aborted) this.#apply();
      }
    } finally {
      watcher?.close();
    }
  }

  #watch(onEvent: () => void): FSWatcher | undefined {
    const { dir, log } = this.#deps;
    const give = (error: unknown) =>
      log.debug({ dir, error: messageOf(error) }, "the adapters folder cannot be watched: it is read every 2 s");
    try {
      return watch(dir, onEvent).on("error", give);
    } catch (error) {
      give(error);
      return undefined;
    }
  }

  /** Reads what changed. @returns whether some file was just being written, so that it must be looked at again */
  async #scan(): Promise<boolean> {
    return await this.#one(async () => {
      const { dir } = this.#deps;
      let names: readonly string[];
      try {
        names = (await readdir(dir)).filter((n) => MANIFEST_FILE.test(n)).sort();
        this.#folderProblem = undefined;
      } catch (error) {
        // A folder that cannot be read says nothing about what it declares: nothing is taken away.
        const remedy = (error as NodeJS.ErrnoException).code === "ENOENT" ? "create it" : "give the runtime's user access to it";
        this.#folderProblem = {
          file: dir,
          reason: "InvalidManifest",
          message: `the adapters folder cannot be read (${messageOf(error)}): ${remedy}`,
        };
        return false;
      }
      const next = new Map<string, KnownFile>();
      let unsettled = false;
      for (const name of names) {
        const path = join(dir, name);
        const known = this.#files.get(path);
        const read = await this.#readFile(path, known);
        if (read === "unsettled") {
          unsettled = true;
          if (known !== undefined) next.set(path, known);
        } else if (read !== "gone") next.set(path, read);
      }
      this.#files = next;
      return unsettled;
    });
  }

  async #readFile(path: string, known: KnownFile | undefined): Promise<KnownFile | "gone" | "unsettled"> {
    try {
      const info = await stat(path, { bigint: true });
      if (!info.isFile()) return "gone";
      const stamp = [info.mtimeNs, info.ctimeNs, info.size, info.ino].join("-");
      if (known?.stamp === stamp) return known;
      const ageMs = Date.now() - Number(info.mtimeMs);
      if (this.#restored !== undefined && ageMs >= 0 && ageMs < SETTLE_MS) return "unsettled";
      if (info.size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`);
      const content = parseManifests(known?.content, path, String(info.mtimeNs), await readFile(path, "utf8"));
      return { stamp, content };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return "gone";
      const before = known?.content ?? { adapters: [], secrets: [], problems: [] };
      const problem = {
        file: path,
        reason: "InvalidManifest",
        message: `the file cannot be read (${messageOf(error)}): give the runtime's user access to it`,
      };
      return { stamp: "", content: { ...before, problems: [problem] } };
    }
  }

  #apply(): void {
    const { manager, observer, feed, podLabels } = this.#deps;
    const { baseModels, unauthorized, message } = observer.view;
    const resolved = resolveManifests(
      [...this.#files.values()].map((f) => f.content),
      {
        podLabels,
        baseModels,
        engineProblem: {
          reason: unauthorized ? "EngineUnauthorized" : "EngineUnavailable",
          message: message ?? "the engine has not said yet which base model it serves",
        },
        ownedByApi: (name) => manager.get(name)?.declaration.origin === "api",
        serving: (name) => (manager.get(name)?.serving === true ? this.#keys.get(name) : undefined),
        restored: (entry) => this.#restored?.has(`${entry.key}@${entry.revision}`) === true,
      },
    );
    this.#keys = resolved.keys;
    const problems = [...(this.#folderProblem === undefined ? [] : [this.#folderProblem]), ...resolved.problems];
    this.#logChanges(problems);
    feed.setProblems(problems);
    manager.setManifests(resolved.declarations);
  }

  /** One line for each problem when it comes, not at every look. */
  #logChanges(problems: readonly ManifestProblem[]): void {
    const { log } = this.#deps;
    const logged = new Set<string>();
    for (const { file, name, reason, message } of problems) {
      const line = `${file} ${name} ${message}`;
      logged.add(line);
      if (this.#logged.has(line)) continue;
      // Where engines of several base models share a folder, that is as it should be.
      log[reason === "NotSelected" ? "info" : "warn"]({ file, adapter: name, reason }, message);
    }
    this.#logged = logged;
  }
}
