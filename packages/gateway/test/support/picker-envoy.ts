import { envoyBootstrap } from "@aibrix/devcluster";
import type { BootstrapFor } from "./data-path.ts";

/** How a test's Envoy differs. */
export interface PickerOptions {
  /** Sends the response through the gateway too. */
  readonly responses?: boolean;
  /** Endpoints that the gateway may pick from. */
  readonly subset?: readonly string[];
  /** How long Envoy waits for an answer of the gateway. */
  readonly messageTimeout?: string;
  /** Keeps the Lua filter that finds models inside Envoy. */
  readonly peek?: boolean;
}

interface Named {
  readonly name: string;
}

const TYPE = "type.googleapis.com/envoy.extensions.filters.http";

/** Envoy's configuration as gateways have it for the endpoint picker of an InferencePool: bodies go through the picker in pieces. */
export function pickerBootstrap(engines: readonly { readonly port: number }[], options: PickerOptions = {}): BootstrapFor {
  return ({ listenPort, adminPort, grpcPort }) => {
    const hosts = engines.map(({ port }) => ({ host: "127.0.0.1", port }));
    // biome-ignore lint/suspicious/noExplicitAny: Envoy's configuration is JSON without types here.
    const bootstrap: any = structuredClone(
      envoyBootstrap({ listenPort, adminPort, extProc: { host: "127.0.0.1", port: grpcPort }, engines: hosts }),
    );
    const hcm = bootstrap.static_resources.listeners[0].filter_chains[0].filters[0].typed_config;
    const { typed_config: extProc } = hcm.http_filters.find(({ name }: Named) => name === "envoy.filters.http.ext_proc");
    extProc.processing_mode = {
      request_header_mode: "SEND",
      request_body_mode: "FULL_DUPLEX_STREAMED",
      request_trailer_mode: "SEND",
      response_header_mode: options.responses === true ? "SEND" : "SKIP",
      response_body_mode: options.responses === true ? "FULL_DUPLEX_STREAMED" : "NONE",
      response_trailer_mode: options.responses === true ? "SEND" : "SKIP",
    };
    extProc.allow_mode_override = false;
    extProc.message_timeout = options.messageTimeout ?? extProc.message_timeout;
    if (options.peek !== true) hcm.http_filters = hcm.http_filters.filter(({ name }: Named) => name !== "envoy.filters.http.lua");
    if (options.subset !== undefined) {
      extProc.metadata_options.forwarding_namespaces = { untyped: ["envoy.lb.subset_hint"] };
      const value = { "x-gateway-destination-endpoint-subset": options.subset };
      hcm.http_filters.unshift({
        name: "envoy.filters.http.set_metadata",
        typed_config: { "@type": `${TYPE}.set_metadata.v3.Config`, metadata: [{ metadata_namespace: "envoy.lb.subset_hint", value }] },
      });
    }
    return bootstrap;
  };
}
