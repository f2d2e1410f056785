export { Counter, Gauge, Histogram, Registry } from "prom-client";
export { ConfigError, everyAddress, type Flag, type FlagValues, helpText, readBindAddress, readFlags } from "./args.ts";
export { type SideServer, sideServer } from "./http.ts";
export { createLogger, type Logger } from "./log.ts";
export { runMain } from "./main.ts";
export { createRegistry } from "./metrics.ts";
export { aborted, Shutdown, shutdownSignal } from "./shutdown.ts";
export { deadline, sleep } from "./time.ts";
