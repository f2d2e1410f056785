import { CONTROLLER_MANAGER } from "@aibrix/api";
import { controllerReference, type KubeObject, type Resource } from "@aibrix/kube";
import { LABEL_MANAGED_BY } from "../endpoints/names.ts";
import { MODEL_ADAPTERS, type ModelAdapterObject } from "../model-adapter/types.ts";

/** The header by which a gateway that reads the body says which model a request is for (Gateway API Inference Extension, body-based routing). */
export const HEADER_MODEL = "X-Gateway-Model-Name";

/** An HTTPRoute, as far as it is read here. */
export interface HttpRoute extends KubeObject {
  readonly spec: object;
}

export const HTTP_ROUTES: Resource<HttpRoute> = {
  group: "gateway.networking.k8s.io",
  version: "v1",
  plural: "httproutes",
  kind: "HTTPRoute",
  namespaced: true,
};

/** A Gateway that routes are attached to. */
export interface GatewayName {
  readonly namespace: string;
  readonly name: string;
}

/**
 * The route of an adapter: requests that name it go to its Service. Pure. All that the API server would fill in is written out, so that
 * what comes back can be compared.
 *
 * @param port - of the adapter's Service
 */
export function httpRoute(adapter: ModelAdapterObject, port: number, gateway: GatewayName): HttpRoute {
  const { name, namespace } = adapter.metadata;
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      labels: { [LABEL_MANAGED_BY]: CONTROLLER_MANAGER },
      ownerReferences: [controllerReference(MODEL_ADAPTERS, adapter)],
    },
    spec: {
      parentRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", ...gateway }],
      rules: [
        {
          matches: [{ path: { type: "PathPrefix", value: "/" }, headers: [{ type: "Exact", name: HEADER_MODEL, value: name }] }],
          backendRefs: [{ group: "", kind: "Service", name, port, weight: 1 }],
        },
      ],
    },
  };
}
