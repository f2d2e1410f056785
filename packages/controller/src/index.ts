export { type Config, readConfig } from "./config.ts";
export { type ControllerDeps, ControllerManager, type Timing } from "./controller.ts";
export { ControllerMetrics } from "./metrics.ts";
