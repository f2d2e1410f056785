/** Why a process was asked to end. */
export class Shutdown extends Error {
  override readonly name = "Shutdown";
}

/**
 * A signal that aborts on the first SIGTERM or SIGINT. A second one ends the process at once, so that a user is never stuck.
 */
export function shutdownSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(130);
      controller.abort(new Shutdown(`received ${name}`));
    });
  }
  return controller.signal;
}

/** Waits until a signal aborts. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
