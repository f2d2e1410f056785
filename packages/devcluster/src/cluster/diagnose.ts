import { shortPath } from "../stack/commands.ts";
import { StackError } from "../stack/errors.ts";
import { logFile, type StateDir, writeFileAtomic } from "../stack/state-dir.ts";
import type { Kubectl } from "./kubectl.ts";
import { conditionOf, type Deployment, type Event, fullName, type Pod } from "./objects.ts";
import { isImageProblem, type PodProblem, podProblem } from "./pod-problem.ts";

const EVENTS = 3;
const LOG_LINES = 20;
const FULL_LOG_LINES = 500;
const REPORT = "cluster-failure";
const ASK_MS = 15_000;

/** Everything that a report about a Deployment is made of. */
export interface Findings {
  readonly deployment: Deployment;
  readonly problem: PodProblem | undefined;
  readonly events: readonly Event[];
  /** Last lines of the container that the problem names. */
  readonly log: readonly string[];
}

/** A Deployment's trouble in words: the pod, its state, its events, its last lines. Pure. */
export function describe({ deployment, problem, events, log }: Findings): string {
  const name = `Deployment ${fullName(deployment.metadata)}`;
  if (problem === undefined) {
    const why = conditionOf(deployment.status?.conditions, "ReplicaFailure") ?? conditionOf(deployment.status?.conditions, "Available");
    return `${name} has no pod that is Ready${why?.message === undefined ? "" : `: ${why.message}`}`;
  }
  const container = problem.container === undefined ? "" : `, container ${problem.container}`;
  return [
    `${name} is not Available.`,
    `Pod ${problem.pod}${container}: ${problem.state}${problem.message === "" ? "" : `: ${problem.message}`}`,
    ...(events.length === 0 ? [] : ["Its last warnings:", ...events.map((e) => `  ${e.reason ?? ""}: ${e.message ?? ""}`)]),
    ...(log.length === 0 ? [] : ["The end of its log:", ...log.map((line) => `  ${line}`)]),
  ].join("\n");
}

/**
 * The error for Deployments that do not become Available. All that can be known about them is written into a file too: the cluster is taken
 * down after this.
 */
export async function deploymentFailure(
  kubectl: Kubectl,
  dir: StateDir,
  broken: readonly Deployment[],
  again: { readonly start: string; readonly images: string },
  signal: AbortSignal,
): Promise<StackError> {
  const found = await Promise.all(broken.map((d) => findingsOf(kubectl, d, signal)));
  const report = await fullReport(kubectl, found, signal);
  writeFileAtomic(logFile(dir, REPORT), report);
  const image = found.some((f) => f.problem !== undefined && isImageProblem(f.problem));
  const remedy = image
    ? `Its image cannot be had (${again.images}). Then start again: ${again.start}`
    : `Mend it, then start again: ${again.start}`;
  const more = `Descriptions and whole logs of these pods: less ${shortPath(logFile(dir, REPORT), process.cwd())}`;
  return new StackError([...found.map(describe), more, remedy].join("\n"));
}

/** The worst pod of a Deployment; `undefined` where it has none that is not Ready. */
export function worstPod(deployment: Deployment, pods: readonly Pod[]): PodProblem | undefined {
  const labels = Object.entries(deployment.spec.selector.matchLabels ?? {});
  const problems = pods
    .filter((p) => p.metadata.namespace === deployment.metadata.namespace && labels.every(([k, v]) => p.metadata.labels?.[k] === v))
    .map(podProblem)
    .filter((p) => p !== undefined);
  return problems.find((p) => p.state !== "Terminating") ?? problems[0];
}

async function findingsOf(kubectl: Kubectl, deployment: Deployment, signal: AbortSignal): Promise<Findings> {
  const namespace = deployment.metadata.namespace ?? "default";
  const pods = await orEmpty(kubectl.list<Pod>(["pods", "-n", namespace], signal, ASK_MS), signal);
  const problem = worstPod(deployment, pods);
  if (problem === undefined) return { deployment, problem, events: [], log: [] };
  const events = await orEmpty(kubectl.list<Event>(["events", "-n", namespace], signal, ASK_MS), signal);
  const name = problem.pod.split("/")[1];
  return {
    deployment,
    problem,
    events: events.filter((e) => e.involvedObject.name === name && e.type === "Warning").slice(-EVENTS),
    log: await logOf(kubectl, problem, LOG_LINES, signal),
  };
}

async function logOf(kubectl: Kubectl, { pod, container }: PodProblem, lines: number, signal: AbortSignal): Promise<readonly string[]> {
  if (container === undefined) return [];
  const [namespace = "", name = ""] = pod.split("/");
  const args = ["logs", "-n", namespace, name, "-c", container, `--tail=${lines}`];
  // A container that waits for its next start has only a log of before.
  for (const extra of [[], ["--previous"]]) {
    const text = await kubectl.run([...args, ...extra], signal, ASK_MS).catch(() => "");
    signal.throwIfAborted();
    if (text.trim() !== "") return text.trimEnd().split("\n");
  }
  return [];
}

async function fullReport(kubectl: Kubectl, found: readonly Findings[], signal: AbortSignal): Promise<string> {
  const parts = await Promise.all(
    found.map(async ({ deployment, problem }) => {
      if (problem === undefined) return "";
      const [namespace = "", name = ""] = problem.pod.split("/");
      const described = await kubectl.run(["describe", "pod", "-n", namespace, name], signal, ASK_MS).catch((e: Error) => e.message);
      const log = await logOf(kubectl, problem, FULL_LOG_LINES, signal);
      return [
        `# Deployment ${fullName(deployment.metadata)}`,
        described,
        `# log of ${problem.pod} ${problem.container ?? ""}`,
        ...log,
      ].join("\n");
    }),
  );
  return `${parts.join("\n\n")}\n`;
}

async function orEmpty<T>(list: Promise<readonly T[]>, signal: AbortSignal): Promise<readonly T[]> {
  try {
    return await list;
  } catch {
    signal.throwIfAborted();
    return [];
  }
}
