import { modelInJson } from "../body/json.ts";
import { modelInMultipart } from "../body/multipart.ts";
import { bodyTooLarge, modelNotFound, modelNotReady, noBody } from "../openai/errors.ts";
import { answer, type PhaseDeps, type RequestState, route, type Step } from "./types.ts";

/** Reads the model out of the buffered body and names the engines that serve it. */
export function onRequestBody(state: RequestState & { readonly phase: "body" }, body: Buffer, deps: PhaseDeps): Step {
  if (body.length > state.limitBytes) return answer(bodyTooLarge(state.limitBytes));
  if (body.length === 0) return answer(noBody());
  const found = state.body === "json" ? modelInJson(body) : modelInMultipart(body, state.contentType);
  if ("refused" in found) return answer(found.refused);
  return lookUp(found.model, state.namespace, deps, false);
}

/**
 * Looks a waiting request's model up again.
 *
 * @param last - whether its time is over
 */
export function onRoutesChanged(state: RequestState & { readonly phase: "waiting" }, last: boolean, deps: PhaseDeps): Step {
  return lookUp(state.model, state.namespace, deps, last);
}

function lookUp(model: string, namespace: string | undefined, { routes, pick }: PhaseDeps, last: boolean): Step {
  const found = routes.find(model, namespace);
  if (found.kind === "routable") return route(pick(found.addresses));
  // A client may be faster than what the gateway hears, and an adapter that is swapped is away for a moment.
  if (!last) return [{ phase: "waiting", model, namespace }, { kind: "wait" }];
  return answer(found.kind === "unknown" ? modelNotFound(model) : modelNotReady(model, found.why));
}
