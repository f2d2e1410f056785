import { errorFromStatus, KubeError } from "./errors.ts";
import { apiVersionOf, type ObjectName, type Resource, resourcePath } from "./resource.ts";
import { type Send, Transport, type TransportOptions } from "./transport.ts";
import type { KubeObject, ObjectMeta, Status } from "./types.ts";
import { lines } from "./watch-stream.ts";

/** Which objects of a collection. */
export interface Selection {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Only `metadata` is sent: for caches of what is merely counted, named or selected. */
  readonly metadataOnly?: boolean | undefined;
}

export interface ListOptions extends Selection {
  /** Objects per page; 500 where absent, 0 for all at once. */
  readonly limit?: number;
  readonly continueToken?: string | undefined;
  readonly timeoutMs?: number | undefined;
}

export interface ListPage<T> {
  readonly items: T[];
  readonly resourceVersion: string;
  readonly continueToken?: string;
}

export interface WatchOptions extends Selection {
  /** Events after this version. */
  readonly resourceVersion: string;
  /** After how long the server ends the watch, in seconds. */
  readonly timeoutSeconds: number;
  /** Deadline for the answer's headers, in milliseconds. */
  readonly timeoutMs?: number | undefined;
  /** Called when the server has accepted the watch, long before a first event may come. */
  readonly onOpen?: (() => void) | undefined;
}

export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: T;
}

export interface WriteOptions {
  /** Who writes, as `managedFields` shows it; the client's where absent. */
  readonly fieldManager?: string | undefined;
  /** The server checks and answers as it would, and stores nothing. */
  readonly dryRun?: boolean | undefined;
}

export interface ApplyOptions extends WriteOptions {
  /** Takes over fields that others manage (default) or fails with a conflict that names them. */
  readonly force?: boolean | undefined;
}

export interface DeleteOptions {
  /** Only this very object, not a later one of its name. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly propagationPolicy?: "Orphan" | "Background" | "Foreground" | undefined;
  readonly gracePeriodSeconds?: number | undefined;
}

export interface KubeClientOptions extends TransportOptions {
  readonly fieldManager: string;
}

/** What a write sends: the object without what the server adds. */
export type Sent<T extends KubeObject> = Omit<T, "metadata" | "status"> & { readonly metadata: Partial<ObjectMeta> } & {
  readonly status?: unknown;
};

const METADATA_ITEM = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/**
 * Calls the API server. Every call takes an AbortSignal, has a deadline, and fails with a {@link KubeError}.
 * Objects are returned as they are on the wire, with `apiVersion` and `kind` also in lists.
 */
export class KubeClient {
  readonly #transport: Transport;
  readonly #fieldManager: string;

  constructor(options: KubeClientOptions) {
    this.#transport = new Transport(options);
    this.#fieldManager = options.fieldManager;
  }

  /** @throws {@link KubeError} `NotFound` where it does not exist */
  async get<T extends KubeObject>(resource: Resource<T>, name: ObjectName, signal: AbortSignal): Promise<T> {
    return (await this.#send("get", "GET", resource, name, {}, signal)) as T;
  }

  /** Like {@link get}, and `undefined` where it does not exist. */
  async find<T extends KubeObject>(resource: Resource<T>, name: ObjectName, signal: AbortSignal): Promise<T | undefined> {
    try {
      return await this.get(resource, name, signal);
    } catch (error) {
      if (error instanceof KubeError && error.notFound) return undefined;
      throw error;
    }
  }

  /** One page of a collection, as it is now (never from a stale cache). */
  async listPage<T extends KubeObject>(resource: Resource<T>, options: ListOptions, signal: AbortSignal): Promise<ListPage<T>> {
    const { limit = 500 } = options;
    const answer = (await this.#transport.json(
      {
        ...this.#target("list", "GET", resource, { namespace: options.namespace }),
        query: {
          labelSelector: options.labelSelector,
          fieldSelector: options.fieldSelector,
          limit: limit > 0 ? limit : undefined,
          continue: options.continueToken,
        },
        timeoutMs: options.timeoutMs,
        ...(options.metadataOnly === true ? { accept: METADATA_LIST } : {}),
      },
      signal,
    )) as
      | { readonly items?: T[] | null; readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string } }
      | undefined;
    const resourceVersion = answer?.metadata?.resourceVersion;
    if (answer === undefined || resourceVersion === undefined)
      throw new KubeError(`list of ${resource.plural}: the answer is not a list`, { status: 0, reason: "Garbage" });
    const next = answer.metadata?.continue;
    return { items: (answer.items ?? []).map((o) => typed(resource, o)), resourceVersion, ...(next ? { continueToken: next } : {}) };
  }

  /** A whole collection, page by page. For what is small or rare; a cache is a `Reflector`'s. */
  async list<T extends KubeObject>(resource: Resource<T>, options: Selection, signal: AbortSignal): Promise<T[]> {
    const all: T[] = [];
    let continueToken: string | undefined;
    do {
      const page = await this.listPage(resource, { ...options, continueToken }, signal);
      all.push(...page.items);
      continueToken = page.continueToken;
    } while (continueToken !== undefined);
    return all;
  }

  /**
   * Events of a collection, until the server ends the watch. One event is held at a time.
   *
   * @throws {@link KubeError} where the watch is refused, breaks, sends an ERROR or what is no event; `expired` means: list again
   */
  async *watch<T extends KubeObject>(resource: Resource<T>, options: WatchOptions, signal: AbortSignal): AsyncGenerator<WatchEvent<T>> {
    const send: Send = {
      ...this.#target("watch", "GET", resource, { namespace: options.namespace }),
      query: {
        watch: true,
        allowWatchBookmarks: true,
        resourceVersion: options.resourceVersion,
        timeoutSeconds: options.timeoutSeconds,
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
      },
      timeoutMs: options.timeoutMs,
      ...(options.metadataOnly === true ? { accept: METADATA_ITEM } : {}),
    };
    const what = `watch of ${resource.plural}`;
    const stream = await this.#transport.stream(send, signal);
    options.onOpen?.();
    try {
      for await (const line of lines(stream)) yield event(resource, what, line);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof KubeError) throw error;
      throw new KubeError(`${what}: ${(error as Error).message || "the connection broke"}`, {
        status: 0,
        reason: "NoAnswer",
        cause: error,
      });
    } finally {
      stream.destroy();
    }
  }

  async create<T extends KubeObject>(resource: Resource<T>, object: Sent<T>, options: WriteOptions, signal: AbortSignal): Promise<T> {
    const { namespace } = object.metadata;
    return (await this.#send(
      "create",
      "POST",
      resource,
      { namespace },
      { ...this.#write(options), body: wire(resource, object) },
      signal,
    )) as T;
  }

  /** Replaces an object; a `resourceVersion` in it makes this fail with a conflict where somebody else wrote since. */
  async update<T extends KubeObject>(resource: Resource<T>, object: Sent<T>, options: WriteOptions, signal: AbortSignal): Promise<T> {
    return (await this.#send(
      "update",
      "PUT",
      resource,
      nameOf(object),
      { ...this.#write(options), body: wire(resource, object) },
      signal,
    )) as T;
  }

  /** Server-side apply: send only the fields that this program owns. Creates the object where it is missing. */
  async apply<T extends KubeObject>(resource: Resource<T>, object: Sent<T>, options: ApplyOptions, signal: AbortSignal): Promise<T> {
    return (await this.#send("patch", "PATCH", resource, nameOf(object), this.#apply(resource, object, options), signal)) as T;
  }

  /** {@link apply} on the status subresource: `apiVersion`, `kind`, name and `status`. */
  async applyStatus<T extends KubeObject>(
    resource: Resource<T>,
    object: Pick<Sent<T>, "metadata" | "status">,
    options: ApplyOptions,
    signal: AbortSignal,
  ): Promise<T> {
    const send = { ...this.#apply(resource, object, options), subresource: "status" };
    return (await this.#send("patch", "PATCH", resource, nameOf(object), send, signal)) as T;
  }

  /** A JSON merge patch (RFC 7396); `null` removes a field. A `resourceVersion` in its metadata guards it. */
  async mergePatch<T extends KubeObject>(
    resource: Resource<T>,
    name: ObjectName,
    patch: object,
    options: WriteOptions & { readonly subresource?: string },
    signal: AbortSignal,
  ): Promise<T> {
    const send = { ...this.#write(options), subresource: options.subresource, body: patch, contentType: "application/merge-patch+json" };
    return (await this.#send("patch", "PATCH", resource, name, send, signal)) as T;
  }

  /** Deletes. What is gone already is fine. */
  async delete(resource: Resource, name: ObjectName, options: DeleteOptions, signal: AbortSignal): Promise<void> {
    const { uid, resourceVersion, ...rest } = options;
    const preconditions = uid === undefined && resourceVersion === undefined ? undefined : { uid, resourceVersion };
    const body = { kind: "DeleteOptions", apiVersion: "v1", ...rest, preconditions };
    try {
      await this.#send("delete", "DELETE", resource, name, { body }, signal);
    } catch (error) {
      if (!(error instanceof KubeError && error.notFound)) throw error;
    }
  }

  /** Any other call: a subresource such as `token`, a path such as `/version`. Returns the parsed answer. */
  async raw(send: Send, signal: AbortSignal): Promise<unknown> {
    return await this.#transport.json(send, signal);
  }

  /** Drops all connections. Calls in flight fail. */
  async close(): Promise<void> {
    await this.#transport.close();
  }

  #send(
    verb: Send["verb"],
    method: Send["method"],
    resource: Resource,
    name: { readonly namespace?: string | undefined; readonly name?: string },
    more: Partial<Send>,
    signal: AbortSignal,
  ): Promise<unknown> {
    return this.#transport.json({ ...this.#target(verb, method, resource, name, more.subresource), ...more }, signal);
  }

  #target(
    verb: Send["verb"],
    method: Send["method"],
    resource: Resource,
    name: { readonly namespace?: string | undefined; readonly name?: string },
    subresource?: string,
  ): Send {
    return { verb, method, resource: resource.plural, path: resourcePath(resource, name, subresource) };
  }

  #write({ fieldManager, dryRun }: WriteOptions): { query: NonNullable<Send["query"]> } {
    return {
      query: { fieldManager: fieldManager ?? this.#fieldManager, fieldValidation: "Strict", dryRun: dryRun === true ? "All" : undefined },
    };
  }

  #apply(resource: Resource, object: { readonly metadata: Partial<ObjectMeta> }, options: ApplyOptions): Partial<Send> {
    const { query } = this.#write(options);
    return { query: { ...query, force: options.force ?? true }, body: wire(resource, object), contentType: "application/apply-patch+yaml" };
  }
}

function nameOf(object: { readonly metadata: Partial<ObjectMeta> }): ObjectName {
  const { name, namespace } = object.metadata;
  if (name === undefined) throw new TypeError("metadata.name is missing: this write needs it");
  return { namespace, name };
}

function wire(resource: Resource, object: object): object {
  return { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
}

function typed<T extends KubeObject>(resource: Resource<T>, object: T): T {
  return { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
}

function event<T extends KubeObject>(resource: Resource<T>, what: string, line: string): WatchEvent<T> {
  let parsed: { readonly type?: unknown; readonly object?: unknown };
  try {
    parsed = JSON.parse(line) as typeof parsed;
  } catch (cause) {
    throw new KubeError(`${what}: a line is not JSON`, { status: 0, reason: "Garbage", cause });
  }
  const { type, object } = parsed;
  if (type === "ERROR") throw errorFromStatus(what, (object ?? {}) as Status);
  const { metadata } = (object ?? {}) as { readonly metadata?: ObjectMeta };
  const known = type === "ADDED" || type === "MODIFIED" || type === "DELETED" || type === "BOOKMARK";
  if (!known || typeof metadata?.resourceVersion !== "string" || (type !== "BOOKMARK" && typeof metadata.name !== "string"))
    throw new KubeError(`${what}: an event without type or object`, { status: 0, reason: "Garbage" });
  return { type, object: typed(resource, object as T) };
}
