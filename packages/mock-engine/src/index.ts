export { buildEngine, type ProcessDeps } from "./app.ts";
export type { ErrorShape } from "./errors.ts";
export { type EngineInput, type HubOptions, type LoraModule, type MockSettings, OptionsError } from "./options.ts";
export { adapterDigest, type ParsedAnswer, parseAnswer } from "./text.ts";
