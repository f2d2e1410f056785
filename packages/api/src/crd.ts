import { GROUP, KIND, PLURAL, VERSION } from "./labels.ts";
import { ModelAdapterSpecSchema, ModelAdapterStatusSchema } from "./model-adapter.ts";
import { ROOT_RULES, validations } from "./rules.ts";

const COLUMNS = [
  { name: "Phase", type: "string", jsonPath: ".status.phase" },
  { name: "Desired", type: "integer", jsonPath: ".status.desiredReplicas" },
  { name: "Ready", type: "integer", jsonPath: ".status.readyReplicas" },
  { name: "Candidates", type: "integer", jsonPath: ".status.candidates" },
  { name: "Base Model", type: "string", jsonPath: ".spec.baseModel" },
  { name: "Reason", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].reason' },
  { name: "Update", type: "string", jsonPath: ".status.update.state" },
  { name: "Artifact", type: "string", jsonPath: ".spec.artifactURL", priority: 1 },
  { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
] as const;

/** The CustomResourceDefinition as a plain object. */
export function modelAdapterCrd(): Record<string, unknown> {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${PLURAL}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: "Namespaced",
      names: {
        kind: KIND,
        listKind: `${KIND}List`,
        plural: PLURAL,
        singular: KIND.toLowerCase(),
        shortNames: ["ma"],
        categories: ["aibrix"],
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: COLUMNS.map((c) => ({ ...c })),
          schema: {
            openAPIV3Schema: {
              type: "object",
              description: "ModelAdapter declares a LoRA adapter that matching pods serve under its name.",
              required: ["spec"],
              properties: {
                apiVersion: { type: "string" },
                kind: { type: "string" },
                metadata: { type: "object" },
                spec: structural(ModelAdapterSpecSchema),
                status: structural(ModelAdapterStatusSchema),
              },
              "x-kubernetes-validations": validations(ROOT_RULES),
            },
          },
        },
      ],
    },
  };
}

/** A schema as a structural one: plain data, and unknown fields pruned by the server instead of forbidden by the schema. */
function structural(schema: unknown): unknown {
  const plain: unknown = JSON.parse(JSON.stringify(schema));
  return strip(plain);
}

function strip(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(strip);
  if (node === null || typeof node !== "object") return node;
  return Object.fromEntries(
    Object.entries(node)
      .filter(([key, value]) => !(key === "additionalProperties" && value === false))
      .map(([key, value]) => [key, strip(value)]),
  );
}
