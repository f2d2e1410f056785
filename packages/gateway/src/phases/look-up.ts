import { modelNotFound, modelNotReady } from "../openai/errors.ts";
import { answer, type PhaseDeps, type RequestState, type RoutedPhase, route, type Step } from "./types.ts";

/**
 * Names the engines that serve a model, or lets the request wait: a client may be faster than what the gateway hears, and an adapter that
 * is swapped is away for a moment.
 *
 * @param on - the message that this answers
 */
export function lookUp(on: RoutedPhase, model: string, namespace: string | undefined, { routes, pick }: PhaseDeps): Step {
  const found = routes.find(model, namespace);
  if (found.kind === "routable") return route(on, model, pick(found.addresses));
  return [{ phase: "waiting", on, model, namespace }, { kind: "wait" }];
}

/**
 * Looks a waiting request's model up again.
 *
 * @param last - whether its time is over
 */
export function onRoutesChanged(state: RequestState & { readonly phase: "waiting" }, last: boolean, deps: PhaseDeps): Step {
  const { on, model, namespace } = state;
  if (!last) return lookUp(on, model, namespace, deps);
  const found = deps.routes.find(model, namespace);
  if (found.kind === "routable") return route(on, model, deps.pick(found.addresses));
  return answer(found.kind === "unknown" ? modelNotFound(model) : modelNotReady(model, found.why), { model, phase: on });
}
