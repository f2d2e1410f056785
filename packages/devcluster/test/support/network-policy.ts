import type { Manifest } from "./manifest-plane.ts";

type Labels = Readonly<Record<string, string>>;

interface Selector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly { readonly key: string; readonly operator: string; readonly values?: readonly string[] }[];
}

interface PolicySpec {
  readonly podSelector: Selector;
  readonly policyTypes: readonly string[];
  readonly ingress?: readonly {
    readonly from: readonly { readonly namespaceSelector?: Selector; readonly podSelector?: Selector }[];
    readonly ports: readonly { readonly port: number | string; readonly protocol: string }[];
  }[];
}

/** A pod as a policy sees it. */
export interface PolicyPod {
  readonly namespace: string;
  /** Of its namespace, besides the name's. */
  readonly namespaceLabels?: Labels;
  readonly labels: Labels;
}

/**
 * Whether policies let one pod call another's port: the rules of networking.k8s.io/v1 for ingress by selectors, which is all that ours use.
 * Pure: all callers and ports at once; that a network enforces them is a story of the cluster.
 *
 * @param port - a number, and the port's name where the pod gives it one
 */
export function mayCall(policies: readonly Manifest[], from: PolicyPod, to: PolicyPod, port: readonly (number | string)[]): boolean {
  const of = policies
    .filter((p) => p.kind === "NetworkPolicy" && p.metadata.namespace === to.namespace)
    .map((p) => p.spec as PolicySpec)
    .filter((spec) => spec.policyTypes.includes("Ingress") && matches(spec.podSelector, to.labels));
  if (of.length === 0) return true;
  const namespace = { ...from.namespaceLabels, "kubernetes.io/metadata.name": from.namespace };
  return of
    .flatMap((spec) => spec.ingress ?? [])
    .some(
      (rule) =>
        rule.ports.some((p) => p.protocol === "TCP" && port.includes(p.port)) &&
        rule.from.some(
          (peer) =>
            (peer.namespaceSelector === undefined ? from.namespace === to.namespace : matches(peer.namespaceSelector, namespace)) &&
            (peer.podSelector === undefined || matches(peer.podSelector, from.labels)),
        ),
    );
}

function matches(selector: Selector, labels: Labels): boolean {
  const byLabel = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
  return byLabel && (selector.matchExpressions ?? []).every((e) => matchesExpression(e, labels[e.key]));
}

function matchesExpression({ operator, values }: { operator: string; values?: readonly string[] }, value: string | undefined): boolean {
  if (operator === "Exists") return value !== undefined;
  if (operator === "In") return value !== undefined && values?.includes(value) === true;
  throw new Error(`the operator ${operator} is not known here`);
}
