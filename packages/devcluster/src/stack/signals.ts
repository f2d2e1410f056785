/** Why a stack was asked to end. */
export class Stopped extends Error {
  override readonly name = "Stopped";
}

/** A terminal and npm both pass a Ctrl-C on, so that it arrives twice; only a later one means impatience. */
const SAME_PRESS_MS = 1_000;

/**
 * A signal that aborts when the process is asked to end. Asked again later, `kill` is called and the process ends at once.
 */
export function stopSignal(kill: () => void): AbortController {
  const controller = new AbortController();
  let askedMs = 0;
  for (const name of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.on(name, () => {
      const nowMs = performance.now();
      if (!controller.signal.aborted) {
        askedMs = nowMs;
        controller.abort(new Stopped(`received ${name}`));
      } else if (nowMs - askedMs > SAME_PRESS_MS) {
        kill();
        process.exit(130);
      }
    });
  }
  return controller;
}
