export { type Config, readConfig, SUPPORTED_ENGINES } from "./config.ts";
export { createRuntime, type Runtime } from "./runtime.ts";
