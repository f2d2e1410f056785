import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Logger } from "@aibrix/service";
import type { RoutingSink } from "../routing/types.ts";
import type { Endpoint } from "./config.ts";

/** How long things may take, in milliseconds. Tests shorten them. */
export interface SourceTimings {
  /** Silence after which a runtime's stream counts as dead. */
  readonly silenceMs: number;
  /** How long what a runtime said last stays in force once it is not heard any more: its engine may serve on. */
  readonly graceMs: number;
  /** Between two readings of an engine's list. */
  readonly listPeriodMs: number;
  /** For connecting, and for an engine's whole answer. */
  readonly callTimeoutMs: number;
  /** First and longest pause before a runtime is tried again. */
  readonly backoffMs: readonly [number, number];
}

/** What a source of one engine's state needs. */
export interface SourceDeps {
  readonly endpoint: Endpoint;
  readonly sink: RoutingSink;
  readonly log: Logger;
  readonly timings: SourceTimings;
  /** Called after every try, whatever came of it. */
  readonly onTried: () => void;
}

/** The present time, as models carry it. */
export function nowSec(): number {
  return Math.floor(Date.now() / 1000);
}

/**
 * The `ip:port` by which Envoy knows an engine.
 *
 * @throws Error where a name has no address
 */
export async function resolveAddress(host: string, port: number): Promise<string> {
  // "localhost" may resolve to ::1 first, while engines listen on 127.0.0.1.
  const ip = host === "localhost" ? "127.0.0.1" : isIP(host) !== 0 ? host : (await lookup(host, { family: 4 })).address;
  return isIP(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`;
}
