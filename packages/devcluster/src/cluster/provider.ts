import type { PartContext } from "../parts/part-context.ts";
import type { StateDir } from "../stack/state-dir.ts";
import type { Supervisor } from "../stack/supervisor.ts";

/** Where a cluster comes from: a node of our own on this machine, kind, or one that exists. */
export type ClusterKind = "node" | "kind" | "kubeconfig";

/** A cluster that answers. */
export interface ClusterHandle {
  readonly kind: ClusterKind;
  /** A file that lets this user do everything in the cluster. */
  readonly kubeconfig: string;
  /** The program. */
  readonly kubectl: string;
  /** Where images are pushed from this machine, for example `http://10.213.0.2:5000`; `undefined`: the cluster gets its images elsewhere. */
  readonly registry: string | undefined;
  /** Host (without a port) at which this machine reaches the gateway, or NodePorts where it has no port here. */
  readonly gatewayHost: string;
  /** Port of the gateway at that host; `undefined`: it has what its Service gets in the cluster. */
  readonly gatewayPort?: number;
}

/** The edges of a {@link ClusterProvider}. */
export interface ClusterDeps {
  /** Long-lived programs are its parts: it restarts them, writes their logs, and ends them in order. `allReady` waits for them. */
  readonly supervisor: Supervisor;
  /** The state folder. What the provider keeps is in `dir.cluster`; it outlives a supervisor that was killed. */
  readonly dir: StateDir;
  /** Takes lines for people, without a time. */
  readonly say: (line: string) => void;
  /** For what is fetched or built. */
  readonly parts: PartContext;
}

/** One way to a cluster. */
export interface ClusterProvider {
  readonly kind: ClusterKind;
  /**
   * Starts the cluster and returns once its API server answers and its nodes are Ready.
   * @throws StackError or PartError with cause and remedy. What was made until then is taken away by the supervisor's end and `remove`.
   */
  start(deps: ClusterDeps, signal: AbortSignal): Promise<ClusterHandle>;
  /**
   * Removes everything that the cluster made beside the supervisor's own parts, also what a killed supervisor has left; no part runs any
   * more when it is called. Idempotent; it depends on the state folder alone.
   */
  remove(dir: StateDir, signal: AbortSignal): Promise<void>;
}
