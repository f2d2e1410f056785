import { isDeepStrictEqual } from "node:util";
import { CONTROLLER_MANAGER } from "@aibrix/api";
import {
  Controller,
  controllerOf,
  type Done,
  type EventRecorder,
  isControlledBy,
  type KubeClient,
  KubeError,
  keyOf,
  type Log,
  Reflector,
  type ReflectorTiming,
  type Result,
  sleep,
  splitKey,
  withoutManagedFields,
} from "@aibrix/kube";
import { OwnWrites } from "../cache/own-writes.ts";
import type { Caches } from "../caches.ts";
import { LABEL_MANAGED_BY } from "../endpoints/names.ts";
import { MODEL_ADAPTERS, type ModelAdapterObject } from "../model-adapter/types.ts";
import { type GatewayName, HEADER_MODEL, HTTP_ROUTES, type HttpRoute, httpRoute } from "./http-route.ts";

/** How often it is asked whether the Gateway API is there by now, and a route that is somebody else's is looked at, in milliseconds. */
const AGAIN_MS = 60_000;

const OURS = `${LABEL_MANAGED_BY}=${CONTROLLER_MANAGER}`;

export interface HttpRoutesOptions {
  readonly client: KubeClient;
  readonly caches: Caches;
  /** Only this namespace; all where absent. */
  readonly namespace: string | undefined;
  readonly events: Pick<EventRecorder, "record">;
  readonly log: Log;
  readonly onReconcile: (done: Done) => void;
  readonly timing?: Partial<ReflectorTiming> | undefined;
  /** See `AGAIN_MS`; tests set a small one. */
  readonly againMs?: number | undefined;
}

/** Keeps a route for every adapter until the signal aborts; where the Gateway API is not installed it waits for that. Never rejects. */
export async function keepHttpRoutes(options: HttpRoutesOptions, gateway: GatewayName, signal: AbortSignal): Promise<void> {
  if (!(await untilServed(options, signal))) return;
  const routes = new Reflector({
    client: options.client,
    namespace: options.namespace,
    log: options.log,
    ...(options.timing === undefined ? {} : { timing: options.timing }),
    resource: HTTP_ROUTES,
    labelSelector: OURS,
  });
  const watching = routes.run(signal);
  await httpRoutesController(options, routes, gateway)
    .run(signal)
    .catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  await watching;
}

/** Removes the routes of a time when they were wanted, where the right to is still there. Never rejects. */
export async function sweepHttpRoutes(
  { client, namespace, log, againMs = AGAIN_MS }: HttpRoutesOptions,
  signal: AbortSignal,
): Promise<void> {
  do {
    try {
      for (const route of await ourRoutes(client, namespace, signal)) {
        const { uid, name, namespace: ns } = route.metadata;
        await client.delete(
          HTTP_ROUTES,
          { name, ...(ns === undefined ? {} : { namespace: ns }) },
          uid === undefined ? {} : { uid },
          signal,
        );
        log.info({ route: keyOf(route) }, "removed an HTTPRoute: --enable-httproutes is not set");
      }
      return;
    } catch (error) {
      if (signal.aborted || isMissing(error)) return;
      // The right comes with the feature: who never gave it has none to remove.
      if (error instanceof KubeError && error.status === 403)
        return log.debug(
          {},
          "HTTPRoutes of an earlier time are not looked for: the controller may not. Where there are some, apply deploy/rbac/httproutes and restart it",
        );
      log.warn({ err: error }, "cannot look for HTTPRoutes of an earlier time: will try again");
    }
  } while (await sleep(againMs, signal));
}

async function ourRoutes(client: KubeClient, namespace: string | undefined, signal: AbortSignal): Promise<HttpRoute[]> {
  const all: HttpRoute[] = [];
  let continueToken: string | undefined;
  do {
    const page = await client.listPage(HTTP_ROUTES, { namespace, labelSelector: OURS, continueToken }, signal);
    // A label may be anybody's; an owner of our kind is not.
    all.push(...page.items.filter((r) => controllerOf(r)?.kind === MODEL_ADAPTERS.kind));
    continueToken = page.continueToken;
  } while (continueToken !== undefined);
  return all;
}

/** @returns false where the signal aborted */
async function untilServed({ client, namespace, log, againMs = AGAIN_MS }: HttpRoutesOptions, signal: AbortSignal): Promise<boolean> {
  let told = false;
  do {
    try {
      await client.listPage(HTTP_ROUTES, { namespace, limit: 1 }, signal);
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      if (!isMissing(error)) log.warn({ err: error }, "cannot list HTTPRoutes: will try again");
      else if (!told) log.warn({}, "--enable-httproutes: the Gateway API is not installed; routes are written once its CRDs are there");
      told = true;
    }
  } while (await sleep(againMs, signal));
  return false;
}

function isMissing(error: unknown): boolean {
  return error instanceof KubeError && error.notFound;
}

function httpRoutesController(options: HttpRoutesOptions, routes: Reflector<HttpRoute>, gateway: GatewayName): Controller {
  const { client, caches, events, log, onReconcile, againMs = AGAIN_MS } = options;
  const own = new OwnWrites<HttpRoute>();
  const foreign = new Set<string>();

  async function reconcile(key: string, signal: AbortSignal): Promise<Result> {
    const adapter = caches.adapters.get(key);
    const service = caches.services.get(key);
    const isOurs = service !== undefined && adapter !== undefined && isControlledBy(service, adapter);
    const port = isOurs ? service.spec?.ports?.[0]?.port : undefined;
    const route = own.latest(key, routes.store.get(key));
    if (adapter === undefined || adapter.metadata.deletionTimestamp !== undefined || port === undefined) {
      foreign.delete(key);
      if (route === undefined || controllerOf(route)?.kind !== MODEL_ADAPTERS.kind) return {};
      const { uid } = route.metadata;
      await client.delete(HTTP_ROUTES, splitKey(key), uid === undefined ? {} : { uid }, signal);
      own.deleted(key, uid);
      return {};
    }
    const wanted = httpRoute(adapter, port, gateway);
    if (route === undefined) return await create(key, wanted, adapter, signal);
    return isControlledBy(route, adapter) ? await mend(key, route, wanted, signal) : tellForeign(key, adapter);
  }

  async function create(key: string, wanted: HttpRoute, adapter: ModelAdapterObject, signal: AbortSignal): Promise<Result> {
    try {
      own.wrote(key, withoutManagedFields(await client.create(HTTP_ROUTES, wanted, {}, signal)));
    } catch (error) {
      if (!(error instanceof KubeError && error.alreadyExists)) throw error;
      const there = await client.find(HTTP_ROUTES, splitKey(key), signal);
      if (there === undefined) throw error;
      // Ours without its label is out of the watch's sight.
      if (isControlledBy(there, adapter)) return await mend(key, there, wanted, signal);
      return tellForeign(key, adapter);
    }
    foreign.delete(key);
    return {};
  }

  async function mend(key: string, route: HttpRoute, wanted: HttpRoute, signal: AbortSignal): Promise<Result> {
    const { labels, resourceVersion } = route.metadata;
    if (labels?.[LABEL_MANAGED_BY] === CONTROLLER_MANAGER && isDeepStrictEqual(route.spec, wanted.spec)) return {};
    // What somebody added goes too.
    const added = Object.fromEntries(Object.keys(route.spec).map((field) => [field, null]));
    const patch = { metadata: { resourceVersion, labels: wanted.metadata.labels }, spec: { ...added, ...wanted.spec } };
    own.wrote(key, withoutManagedFields(await client.mergePatch(HTTP_ROUTES, splitKey(key), patch, {}, signal)));
    return {};
  }

  function tellForeign(key: string, adapter: ModelAdapterObject): Result {
    if (!foreign.has(key)) {
      const note = `the HTTPRoute ${key} is not this ModelAdapter's and is left alone: rename one of the two to route by ${HEADER_MODEL}`;
      events.record(MODEL_ADAPTERS, adapter, { type: "Warning", reason: "HTTPRouteNotOwned", action: "Route", note });
    }
    foreign.add(key);
    return { requeueAfterMs: againMs };
  }

  const reflectors = [...caches.reflectors, routes];
  const controller = new Controller({ name: "httproutes", workers: 4, reconcile, reflectors, log, onReconcile });
  controller.follow(caches.adapters, (change) => (isStatusOnly(change.old, change.object) ? [] : [change.key]));
  controller.follow(caches.services);
  controller.follow(routes.store, (change) => {
    if (change.type === "deleted") own.forget(change.key);
    return [change.key];
  });
  return controller;
}

/** Statuses change all the time, and a route depends on none. */
function isStatusOnly(old: ModelAdapterObject | undefined, now: ModelAdapterObject | undefined): boolean {
  if (old === undefined || now === undefined) return false;
  return old.metadata.generation === now.metadata.generation && old.metadata.deletionTimestamp === now.metadata.deletionTimestamp;
}
