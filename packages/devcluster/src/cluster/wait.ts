import { StackError } from "../stack/errors.ts";
import { untilAnswers } from "../stack/probe.ts";
import { deadline, sleep, span } from "../stack/time.ts";
import { worstPod } from "./diagnose.ts";
import type { Kubectl } from "./kubectl.ts";
import { conditionOf, type Deployment, fullName, type Meta, type Pod } from "./objects.ts";
import { isImageProblem } from "./pod-problem.ts";

const EVERY_MS = 700;
const AVAILABLE_MS = 300_000;
/** An image that cannot be had so long will not come. */
const IMAGE_MS = 25_000;
const STILL_WAITING_MS = 10_000;
const GATEWAY_MS = 30_000;

/** Deployments that did not become Available; the caller finds out why. */
export class NotAvailable extends Error {
  override readonly name = "NotAvailable";
  readonly deployments: readonly Deployment[];

  constructor(deployments: readonly Deployment[]) {
    super(`${deployments.map((d) => fullName(d.metadata)).join(", ")} not Available`);
    this.deployments = deployments;
  }
}

/**
 * Waits until all of these Deployments are Available, and says so for each.
 * @throws {@link NotAvailable} after five minutes, or sooner where an image cannot be had
 */
export async function untilAvailable(
  kubectl: Kubectl,
  wanted: readonly Meta[],
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const startedMs = performance.now();
  const waiting = new Set(wanted.map(fullName));
  let saidMs = startedMs;
  let badImageSinceMs: number | undefined;
  for (;;) {
    const nowMs = performance.now();
    const deployments = (await ask<Deployment>(kubectl, "deployments", signal)).filter((d) => waiting.has(fullName(d.metadata)));
    for (const { metadata } of deployments.filter(isAvailable)) {
      waiting.delete(fullName(metadata));
      say(`${metadata.name} ready after ${span(nowMs - startedMs)}`);
    }
    if (waiting.size === 0) return;
    const broken = deployments.filter((d) => !isAvailable(d));
    if (nowMs - startedMs > AVAILABLE_MS) throw new NotAvailable(broken);
    if (nowMs - saidMs > STILL_WAITING_MS) {
      saidMs = nowMs;
      const pods = await ask<Pod>(kubectl, "pods", signal);
      const problems = broken.map((d) => worstPod(d, pods));
      const states = broken.map((d, i) => `${d.metadata.name} (${problems[i]?.state ?? "no pod yet"})`);
      say(`still waiting for ${states.join(", ")} (${span(nowMs - startedMs)})`);
      const withoutImage = broken.filter((_, i) => problems[i] !== undefined && isImageProblem(problems[i]));
      badImageSinceMs = withoutImage.length > 0 ? (badImageSinceMs ?? nowMs) : undefined;
      // The others may only need longer: they would hide the cause.
      if (badImageSinceMs !== undefined && nowMs - badImageSinceMs > IMAGE_MS) throw new NotAvailable(withoutImage);
    }
    await sleep(EVERY_MS, signal);
    signal.throwIfAborted();
  }
}

/** An API server that is away for a moment is asked again. */
async function ask<T>(kubectl: Kubectl, kind: string, signal: AbortSignal): Promise<readonly T[]> {
  try {
    return await kubectl.list<T>([kind, "-A"], signal);
  } catch {
    signal.throwIfAborted();
    return [];
  }
}

function isAvailable({ status }: Deployment): boolean {
  return conditionOf(status?.conditions, "Available")?.status === "True";
}

/**
 * Waits until the gateway answers a client of this machine.
 * @param service - the one that it is in the cluster, for the remedy
 * @throws {@link StackError} where it does not
 */
export async function untilGatewayAnswers(gateway: string, service: Meta, signal: AbortSignal): Promise<void> {
  try {
    await untilAnswers(`${gateway}/v1/models`, false, deadline(GATEWAY_MS, signal));
  } catch {
    signal.throwIfAborted();
    throw new StackError(
      `All Deployments are Available, but ${gateway}/v1/models does not answer this machine within ${span(GATEWAY_MS)}: look for a firewall between it and the node.\nThe same through the API server: kubectl -n ${service.namespace} port-forward service/${service.name} 8080:80, then curl http://127.0.0.1:8080/v1/models`,
    );
  }
}
