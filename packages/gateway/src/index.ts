export { type Endpoint, EndpointsConfigSchema, parseEndpoints } from "./endpoints/config.ts";
export { AUDIO_LIMIT_BYTES, BODY_LIMIT_BYTES } from "./http/paths.ts";
export { RoutingTable } from "./routing/table.ts";
export type { EngineChange, EngineModel, EngineState, RoutingSink } from "./routing/types.ts";
