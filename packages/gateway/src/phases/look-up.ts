import { modelNotFound, modelNotReady } from "../openai/errors.ts";
import { OWN_DESTINATIONS } from "../picking/picker.ts";
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

/**
 * Retries stay with engines of the same content, but the last ones: where none of its engines answers, one of the other content is better than
 * an error. Its answer is not to count for this one, so that there are none of those where Envoy does not tell which it was.
 */
function routed(on: RoutedPhase, model: string, { addresses, canary }: Routable, { pick, inCanary, attempts }: PhaseDeps): Step {
  if (canary === undefined) return route(on, model, pick(addresses));
  const { namespace, weight } = canary;
  const isCanary = addresses.length === 0 || inCanary(weight);
  const version = isCanary ? "canary" : "stable";
  const own = isCanary ? canary.addresses : addresses;
  // What is to get none of the requests gets none of these.
  const other = isCanary ? addresses : weight === 0 ? [] : canary.addresses;
  if (other.length === 0 || attempts?.told !== true) return route(on, model, pick(own), { model, namespace, version });
  return route(on, model, pick(own, other), { model, namespace, version, own: OWN_DESTINATIONS });
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
