import type { ContentRef, Reason } from "@aibrix/api";
import type { Delivery } from "../artifact/artifacts.ts";
import type { Credentials } from "../artifact/sources/source.ts";

/** Something that keeps an adapter from being served, for people. */
export interface Problem {
  readonly reason: Reason;
  readonly message: string;
}

/** What whoever started the engine knows of its limits, which it does not tell itself. */
export interface Limits {
  /** `--max-lora-rank`. */
  readonly maxLoraRank: number;
}

/** A call, or a manifest of the adapters folder. */
export type Origin = "api" | "manifest";

/** That an adapter should be served, and from what. */
export interface Declaration {
  readonly name: string;
  readonly url: string;
  readonly credentials: Credentials;
  /** Hosts that the credentials may go to, where their Secret names some. */
  readonly credentialsHosts?: readonly string[] | undefined;
  /** How the files get to the engine; as the runtime was started where absent. */
  readonly delivery?: Delivery | undefined;
  /** Exactly this content, of all that the URL may lead to in time. */
  readonly content?: ContentRef | undefined;
  /** How long requests of older content may go on before it makes room, in milliseconds, where whoever declared it sends none there. */
  readonly drainMs?: number | undefined;
  /** Limits of the engine, as this declaration gave them. */
  readonly limits?: Limits | undefined;
  /** Whether a first load is probed; as the runtime was started where absent. */
  readonly probe?: "auto" | "off" | undefined;
  /** The engine's key, as this declaration gave it. */
  readonly apiKey: string | undefined;
  readonly origin: Origin;
  /** Who declared it by a call, where it said so. */
  readonly owner?: string | undefined;
  /** It came with a key that a restart of the runtime has lost: keys are never written down. */
  readonly lacksKey: boolean;
  /** It was in force before the runtime started: content that is here is taken without asking its source. */
  readonly restored: boolean;
  /** Changes when somebody saved the manifest again, which asks for another try where the last one failed. */
  readonly revision: string;
  /** Keeps the content from being fetched: a Secret that is missing, for example. */
  readonly hold: Problem | undefined;
  /** `spec.baseModel` of a manifest; a warning where the engine serves another. */
  readonly baseModel: string | undefined;
}

/** Whether two declarations ask for the same content by the same means. */
export function sameContent(a: Declaration, b: Declaration): boolean {
  const credentials = (d: Declaration) => JSON.stringify([sorted(d.credentials), d.credentialsHosts]);
  return sameFiles(a, b) && credentials(a) === credentials(b);
}

/** Whether two declarations lead to the same folder, as far as can be told without asking the source. */
export function sameFiles(a: Declaration, b: Declaration): boolean {
  return a.url === b.url && a.content?.digest === b.content?.digest && JSON.stringify(a.delivery) === JSON.stringify(b.delivery);
}

function sorted(map: Credentials): readonly (readonly [string, string])[] {
  return Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1));
}
