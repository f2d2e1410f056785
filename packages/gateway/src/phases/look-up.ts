import { modelNotFound, modelNotReady } from "../openai/errors.ts";
import type { Found, Routable, RoutingView } from "../routing/types.ts";
import { answer, type PhaseDeps, type RequestState, type RoutedPhase, route, type Step, type Wanted } from "./types.ts";

/**
 * Names the engines that serve a model, or lets the request wait: a client may be faster than what the gateway hears, and an adapter that
 * is swapped is away for a moment.
 *
 * @param on - the message that this answers
 */
export function lookUp(on: RoutedPhase, model: string, wanted: Wanted, deps: PhaseDeps): Step {
  const found = find(deps.routes, model, wanted);
  if (found.kind === "routable") return routed(on, model, found, deps);
  return [{ phase: "waiting", on, model, wanted }, { kind: "wait" }];
}

/**
 * Looks a waiting request's model up again.
 *
 * @param last - whether its time is over
 */
export function onRoutesChanged(state: RequestState & { readonly phase: "waiting" }, last: boolean, deps: PhaseDeps): Step {
  const { on, model, wanted } = state;
  if (!last) return lookUp(on, model, wanted, deps);
  const found = find(deps.routes, model, wanted);
  if (found.kind === "routable") return routed(on, model, found, deps);
  return answer(found.kind === "unknown" ? modelNotFound(model) : modelNotReady(model, found.why), { model, phase: on });
}

/** Whether what a waiting request waits for is that new content takes the place of what served its model. */
export function isSwapping({ model, wanted }: RequestState & { readonly phase: "waiting" }, { routes }: PhaseDeps): boolean {
  const found = find(routes, model, wanted);
  return found.kind === "notReady" && found.swapping === true;
}

/** Retries stay with engines of the same content: an answer of the other one would count for this one. */
function routed(on: RoutedPhase, model: string, { addresses, canary }: Routable, { pick, inCanary }: PhaseDeps): Step {
  if (canary === undefined) return route(on, model, pick(addresses));
  const { namespace } = canary;
  return addresses.length === 0 || inCanary(canary.weight)
    ? route(on, model, pick(canary.addresses), { model, namespace, version: "canary" })
    : route(on, model, pick(addresses), { model, namespace, version: "stable" });
}

/** What serves a model, of the engines that may be picked. */
function find(routes: RoutingView, model: string, { namespace, subset }: Wanted): Found {
  const found = routes.find(model, namespace);
  if (found.kind !== "routable" || subset === undefined) return found;
  const allowed = (of: readonly string[]) => of.filter((address) => subset.includes(address));
  const addresses = allowed(found.addresses);
  const canaries = allowed(found.canary?.addresses ?? []);
  if (found.canary !== undefined && canaries.length > 0)
    return { kind: "routable", addresses, canary: { ...found.canary, addresses: canaries } };
  return addresses.length > 0
    ? { kind: "routable", addresses }
    : { kind: "notReady", why: "no endpoint that may be picked for this request serves it" };
}
