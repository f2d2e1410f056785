import { modelNotFound, modelNotReady } from "../openai/errors.ts";
import type { Found, RoutingView } from "../routing/types.ts";
import { answer, type PhaseDeps, type RequestState, type RoutedPhase, route, type Step, type Wanted } from "./types.ts";

/**
 * Names the engines that serve a model, or lets the request wait: a client may be faster than what the gateway hears, and an adapter that
 * is swapped is away for a moment.
 *
 * @param on - the message that this answers
 */
export function lookUp(on: RoutedPhase, model: string, wanted: Wanted, { routes, pick }: PhaseDeps): Step {
  const found = find(routes, model, wanted);
  if (found.kind === "routable") return route(on, model, pick(found.addresses));
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
  if (found.kind === "routable") return route(on, model, deps.pick(found.addresses));
  return answer(found.kind === "unknown" ? modelNotFound(model) : modelNotReady(model, found.why), { model, phase: on });
}

/** What serves a model, of the engines that may be picked. */
function find(routes: RoutingView, model: string, { namespace, subset }: Wanted): Found {
  const found = routes.find(model, namespace);
  if (found.kind !== "routable" || subset === undefined) return found;
  const addresses = found.addresses.filter((address) => subset.includes(address));
  return addresses.length > 0
    ? { ...found, addresses }
    : { kind: "notReady", why: "no endpoint that may be picked for this request serves it" };
}
