import { aborted, type Logger } from "@aibrix/service";
import type { RoutingSource } from "../routing/source.ts";
import type { RoutingSink } from "../routing/types.ts";
import { readEndpointsFile, watchEndpointsFile } from "./config-file.ts";
import { EngineSources } from "./sources.ts";

/**
 * Routes from an endpoints file.
 *
 * @param onProgress - called whenever `notReady` may have changed
 * @throws {@link ConfigError} for a file that cannot be used
 */
export async function standaloneSource(file: string, sink: RoutingSink, log: Logger, onProgress: () => void): Promise<RoutingSource> {
  const endpoints = await readEndpointsFile(file);
  const sources = new EngineSources(sink, log, onProgress);
  let applied = false;
  return {
    notReady: () => {
      const { untried, of } = sources.untried();
      if (!applied) return "it has not begun";
      return untried === 0 ? undefined : `waiting for the first state of ${untried} of ${of} engines`;
    },
    run: async (signal) => {
      try {
        applied = true;
        sources.apply(endpoints);
        log.info({ file, engines: endpoints.length }, "follows an endpoints file");
        await Promise.all([watchEndpointsFile(file, (e) => sources.apply(e), log, signal), aborted(signal)]);
      } finally {
        await sources.close();
      }
    },
  };
}
