import { methodOf, targetOf } from "../http/paths.ts";
import { bodyTooLarge, compressedBody, noBody, unknownPath, wrongMethod } from "../openai/errors.ts";
import { modelList, oneModel } from "../openai/models.ts";
import { lookUp } from "./look-up.ts";
import { answer, type Message, type PhaseDeps, readBody, type Step } from "./types.ts";

type RequestHeaders = Message & { readonly kind: "requestHeaders" };

/** Lets only known paths pass, refuses early what cannot be read later, and answers the questions for models. */
export function onRequestHeaders({ head, endOfStream, subset, duplex }: RequestHeaders, deps: PhaseDeps): Step {
  const { routes } = deps;
  const target = targetOf(head.path);
  if (target === undefined) return answer(unknownPath(head.method, head.path));
  const method = methodOf(target);
  if (head.method !== method) return answer(wrongMethod(head.method, head.path, method));
  if (target.kind === "models") return answer(modelList(routes.cards(head.modelNamespace)));
  if (target.kind === "model") return answer(oneModel(target.id, routes.card(target.id, head.modelNamespace)));

  if (head.contentEncoding !== "") return answer(compressedBody(head.contentEncoding));
  if (head.contentLength !== undefined && head.contentLength > target.limitBytes) return answer(bodyTooLarge(target.limitBytes));
  if (endOfStream) return answer(noBody());
  const { body, limitBytes } = target;
  const wanted = { namespace: head.modelNamespace, subset };
  // What Envoy finds in a JSON body is what the scan would; in a form it does not look. Where bodies come in pieces,
  // another one's Envoy asks: it may know nothing of that header and let a client's pass.
  if (head.peekedModel !== undefined && body === "json" && duplex?.request !== true)
    return lookUp("requestHeaders", head.peekedModel, wanted, deps);
  return readBody({ phase: "body", body, contentType: head.contentType, limitBytes, wanted });
}
