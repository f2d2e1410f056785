/** The fields of Kubernetes' objects that are read here. */
export interface Meta {
  readonly namespace?: string;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly deletionTimestamp?: string;
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

export interface Deployment {
  readonly metadata: Meta;
  readonly spec: { readonly selector: { readonly matchLabels?: Readonly<Record<string, string>> } };
  readonly status?: { readonly conditions?: readonly Condition[]; readonly observedGeneration?: number };
}

export interface ContainerStatus {
  readonly name: string;
  readonly image: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly state?: ContainerState;
  readonly lastState?: ContainerState;
}

interface ContainerState {
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly running?: unknown;
  readonly terminated?: { readonly exitCode: number; readonly reason?: string; readonly message?: string };
}

export interface Pod {
  readonly metadata: Meta;
  readonly status?: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly conditions?: readonly Condition[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

export interface Event {
  readonly involvedObject: { readonly kind: string; readonly namespace?: string; readonly name: string };
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTimestamp?: string | null;
}

export interface Node {
  readonly metadata: Meta;
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly addresses?: readonly { readonly type: string; readonly address: string }[];
  };
}

/** The first address inside the cluster that a node has. */
export function innerAddress(nodes: readonly Node[]): string | undefined {
  return nodes.flatMap((n) => n.status?.addresses ?? []).find((a) => a.type === "InternalIP")?.address;
}

export interface ModelAdapterObject {
  readonly metadata: Meta;
  readonly status?: { readonly phase?: string; readonly conditions?: readonly Condition[] };
}

/** `namespace/name`. */
export function fullName({ namespace = "default", name }: Meta): string {
  return `${namespace}/${name}`;
}

/** A condition of this type. */
export function conditionOf(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((c) => c.type === type);
}
