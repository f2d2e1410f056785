import { type Static, Type } from "typebox";
import { type Rule, validations } from "./rules.ts";
import { SmokeChecksSpec } from "./smoke-checks.ts";

/*
 * How new content takes the place of the old one: pod after pod, or on a part of the requests first.
 */

export const ROLLOUT_STRATEGIES = ["RollingUpdate", "Canary"] as const;
export type RolloutStrategy = (typeof ROLLOUT_STRATEGIES)[number];

interface RolloutLike {
  readonly strategy?: string;
  readonly rollingUpdate?: unknown;
  readonly canary?: unknown;
}

export const ROLLOUT_RULES: readonly Rule<RolloutLike>[] = [
  {
    rule: "(has(self.strategy) && self.strategy == 'Canary') == has(self.canary)",
    message:
      "strategy Canary and canary belong together: write both, for example strategy: Canary and canary: {steps: [{weight: 5, duration: 10m}, {weight: 25, duration: 10m}]}, or none of them",
    check: (r) => (r.strategy === "Canary") === (r.canary !== undefined),
  },
  {
    rule: "!has(self.rollingUpdate) || !has(self.strategy) || self.strategy == 'RollingUpdate'",
    message: "rollingUpdate is for the strategy RollingUpdate: take it out, or write strategy: RollingUpdate",
    check: (r) => r.rollingUpdate === undefined || (r.strategy ?? "RollingUpdate") === "RollingUpdate",
  },
];

export const STEPS_RULES: readonly Rule<readonly { readonly weight: number }[]>[] = [
  {
    rule: "self.map(s, s.weight).isSorted()",
    message: "the weights of canary.steps may not fall: write them in the order in which the new content gets more, for example 5, 25, 100",
    check: (steps) => steps.every(({ weight }, i) => weight >= (steps[i - 1]?.weight ?? 0)),
  },
];

export const ABORT_RULES: readonly Rule<{ readonly errorPercent?: number; readonly latencyP95?: string }>[] = [
  {
    rule: "has(self.errorPercent) || has(self.latencyP95)",
    message: "canary.abortOn needs a threshold: write errorPercent, latencyP95, or both",
    check: (a) => a.errorPercent !== undefined || a.latencyP95 !== undefined,
  },
];

const CanaryStep = Type.Object(
  {
    weight: Type.Integer({
      description: "How many of a hundred requests the new content gets. 100: it takes the old one's place on every pod.",
      minimum: 1,
      maximum: 100,
      format: "int32",
    }),
    duration: Type.Optional(
      Type.String({
        description:
          "How long the step lasts once its pods serve the new content, without a break, for example `90s`, `10m` or `2h`. Leave it out to stay until the annotation `adapter.model.aibrix.ai/promote` gets another value.",
        maxLength: 7,
        pattern: "^(0|[1-9][0-9]{0,5})[smh]$",
      }),
    ),
  },
  { additionalProperties: false },
);

/** Of `abortOn` without `minRequests`. */
export const DEFAULT_MIN_REQUESTS = 20;

const AbortOn = Type.Object(
  {
    errorPercent: Type.Optional(
      Type.Integer({
        description:
          "How many of a hundred responses may be errors: status 500 and above, also Envoy's own where no engine answers. With more it ends. What goes wrong in a stream after its head has the status 200, and is none.",
        minimum: 0,
        maximum: 99,
        format: "int32",
      }),
    ),
    latencyP95: Type.Optional(
      Type.String({
        description:
          "How long 95 of a hundred requests may wait for the head of their response, for example `500ms` or `2s`: nearly the whole time of an answer, but not of a stream, whose head comes before its first token. The gateway's histogram has bounds of 10, 25, 50, 100, 250 and 500 ms, 1, 2.5, 5, 10, 30, 60, 120, 300 and 600 s: it ends once fewer than 95 of a hundred are within the first bound that is no less.",
        maxLength: 7,
        pattern: "^([1-9][0-9]{0,4}ms|[1-9][0-9]{0,3}s)$",
      }),
    ),
    minRequests: Type.Optional(
      Type.Integer({
        description:
          "How many responses of the new content are waited for, from the step's beginning, before they are judged. A step with fewer is not left by the clock.",
        minimum: 1,
        maximum: 1_000_000,
        default: DEFAULT_MIN_REQUESTS,
        format: "int32",
      }),
    ),
  },
  {
    additionalProperties: false,
    description:
      "What ends it: thresholds for the responses of the new content since the step began, and in the last five minutes, as the gateway counts them (`aibrix_gateway_version_responses_total`, `aibrix_gateway_version_response_seconds`, `aibrix_gateway_version_left_seconds`). A step of 100 is not judged. Leave it out for none.",
    "x-kubernetes-validations": validations(ABORT_RULES),
  },
);

const MAX_STEPS = 16;

const Canary = Type.Object(
  {
    steps: Type.Array(CanaryStep, {
      description:
        "What share of the requests the new content gets, and for how long, one after the other. After the last one every pod gets it.",
      minItems: 1,
      maxItems: MAX_STEPS,
      "x-kubernetes-list-type": "atomic",
      "x-kubernetes-validations": validations(STEPS_RULES),
    }),
    abortOn: Type.Optional(AbortOn),
  },
  {
    additionalProperties: false,
    description:
      "Steps of the strategy Canary. It needs two pods that serve the adapter, or more; with one it waits, and the condition `Updated` says so.",
  },
);

export const RolloutSpec = Type.Object(
  {
    strategy: Type.Optional(
      Type.Unsafe<RolloutStrategy>({
        type: "string",
        enum: [...ROLLOUT_STRATEGIES],
        default: "RollingUpdate",
        description:
          "RollingUpdate: the new content takes the old one's place pod after pod. Canary: some pods get it first, and the gateway sends them the share of the requests that `canary.steps` say.",
      }),
    ),
    rollingUpdate: Type.Optional(
      Type.Object(
        {
          maxUnavailable: Type.Optional(
            Type.Integer({
              description: "How many pods may be swapped at a time. One of those that serve always stays, whatever is written here.",
              minimum: 1,
              maximum: 10_000,
              default: 1,
              format: "int32",
            }),
          ),
        },
        { additionalProperties: false, description: "Of the strategy RollingUpdate." },
      ),
    ),
    paused: Type.Optional(
      Type.Boolean({
        description:
          "Stay where it is: no further pod gets the new content, and no further step begins. An abort by annotation works all the same.",
        default: false,
      }),
    ),
    canary: Type.Optional(Canary),
    checks: Type.Optional(SmokeChecksSpec),
  },
  {
    additionalProperties: false,
    description: "How new content takes the place of the old one.",
    "x-kubernetes-validations": validations(ROLLOUT_RULES),
  },
);
export type RolloutSpec = Static<typeof RolloutSpec>;
