import type { PartEvent } from "./part.ts";
import type { Change } from "./runtime-view.ts";
import { span } from "./time.ts";

/** `14:03:12`, local time. */
export function clock(now: Date): string {
  return now.toTimeString().slice(0, 8);
}

/** A line about a part. */
export function partLine(name: string, event: PartEvent, at: { readonly url: string; readonly log: string }): string {
  if (event.kind === "ready") return `${name} ${event.again ? "is back" : "ready"} after ${span(event.afterMs)}  ${at.url}`;
  return `${name} ${event.how}; it is started again in ${span(event.restartInMs)}  (log: ${at.log})`;
}

/** A line about an adapter, a manifest or an engine. */
export function changeLine(engine: string, { subject, state, detail }: Change): string {
  const columns = subject === "engine" ? [engine.padEnd(38)] : [subject.padEnd(28), engine.padEnd(9)];
  return [...columns, state.padEnd(11), detail].join(" ").trimEnd();
}
