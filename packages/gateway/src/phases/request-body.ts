import { modelInJson } from "../body/json.ts";
import { modelInMultipart } from "../body/multipart.ts";
import { bodyTooLarge, noBody } from "../openai/errors.ts";
import { lookUp } from "./look-up.ts";
import { answer, type PhaseDeps, type RequestState, type Step } from "./types.ts";

/** Reads the model out of the whole body and names the engines that serve it. */
export function onRequestBody(state: RequestState & { readonly phase: "body" }, body: Buffer, deps: PhaseDeps): Step {
  if (body.length > state.limitBytes) return answer(bodyTooLarge(state.limitBytes));
  if (body.length === 0) return answer(noBody());
  const found = state.body === "json" ? modelInJson(body) : modelInMultipart(body, state.contentType);
  if ("refused" in found) return answer(found.refused);
  return lookUp("requestBody", found.model, state.wanted, deps);
}
