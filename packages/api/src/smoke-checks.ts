import { type Static, Type } from "typebox";
import { type Rule, validations } from "./rules.ts";

/*
 * Prompts that new content has to answer as expected before any user's request meets it.
 */

/** Of a check without `maxLatency`, in milliseconds. */
const DEFAULT_DEADLINE_MS = 30_000;

interface PromptLike {
  readonly prompt?: string;
  readonly messages?: readonly unknown[];
}

export const SMOKE_CHECK_RULES: readonly Rule<PromptLike>[] = [
  {
    rule: "has(self.prompt) != has(self.messages)",
    message: "a check needs either prompt, for /v1/completions, or messages, for /v1/chat/completions",
    check: (c) => (c.prompt === undefined) !== (c.messages === undefined),
  },
];

/** CEL has RE2 itself: a pattern that it cannot read is an error of the rule, and the object is refused. Elsewhere the runtime compiles it. */
const PATTERN_RULE = {
  rule: "''.matches(self) in [true, false]",
  message: "matches is no regular expression of RE2's dialect",
};

const PROMPT = { minLength: 1, maxLength: 4096 } as const;

const Message = Type.Object(
  {
    role: Type.Unsafe<"system" | "user" | "assistant">({
      type: "string",
      enum: ["system", "user", "assistant"],
      description: "Who says it.",
    }),
    content: Type.String({ ...PROMPT, description: "What is said." }),
  },
  { additionalProperties: false },
);

const Expect = Type.Object(
  {
    status: Type.Optional(
      Type.Integer({ description: "HTTP status of the answer.", minimum: 100, maximum: 599, default: 200, format: "int32" }),
    ),
    notEmpty: Type.Optional(Type.Boolean({ description: "The text has something else than white space.", default: true })),
    contains: Type.Optional(Type.String({ description: "The text has this in it, letter by letter.", minLength: 1, maxLength: 1024 })),
    matches: Type.Optional(
      Type.String({
        description: "The text has a part that this regular expression matches; of RE2's dialect, without look-around and back references.",
        minLength: 1,
        maxLength: 256,
        "x-kubernetes-validations": [PATTERN_RULE],
      }),
    ),
    maxLatency: Type.Optional(
      Type.String({
        description:
          "How long the whole answer may take, for example `500ms` or `2s`; less than 100 s. Where absent, an answer that takes 30 s or more has failed.",
        maxLength: 7,
        pattern: "^([1-9][0-9]{0,4}ms|[1-9][0-9]?s)$",
      }),
    ),
  },
  {
    additionalProperties: false,
    description: "What the answer has to be. The text is what the adapter wrote, or the whole body where `status` is not 200.",
  },
);

const SmokeCheckSpec = Type.Object(
  {
    name: Type.Optional(Type.String({ description: "What a failure names it by; else its number, from 1.", minLength: 1, maxLength: 63 })),
    prompt: Type.Optional(Type.String({ ...PROMPT, description: "Prompt for `/v1/completions`." })),
    messages: Type.Optional(
      Type.Array(Message, {
        description: "Messages for `/v1/chat/completions`.",
        minItems: 1,
        maxItems: 8,
        "x-kubernetes-list-type": "atomic",
      }),
    ),
    maxTokens: Type.Optional(
      Type.Integer({ description: "How long the answer may get.", minimum: 1, maximum: 1024, default: 16, format: "int32" }),
    ),
    expect: Type.Optional(Expect),
  },
  { additionalProperties: false, "x-kubernetes-validations": validations(SMOKE_CHECK_RULES) },
);
export type SmokeCheckSpec = Static<typeof SmokeCheckSpec>;

const MAX_CHECKS = 16;

/** Of `spec.rollout`. */
export const SmokeChecksSpec = Type.Array(SmokeCheckSpec, {
  description:
    "Prompts that new content has to answer as expected, on one pod, before any request of a user meets it; else it is not taken (`CheckFailed`). They are asked with temperature 0, one after the other. Not for a first load, which nothing serves before.",
  maxItems: MAX_CHECKS,
  "x-kubernetes-list-type": "atomic",
});

/** The same in the runtime's contract, with every default filled in. */
export const SmokeCheckSchema = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 63 })),
    prompt: Type.Optional(Type.String(PROMPT)),
    messages: Type.Optional(Type.Array(Message, { minItems: 1, maxItems: 8 })),
    max_tokens: Type.Integer({ minimum: 1, maximum: 1024 }),
    expect: Type.Object(
      {
        status: Type.Integer({ minimum: 100, maximum: 599 }),
        not_empty: Type.Boolean(),
        contains: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
        matches: Type.Optional(Type.String({ minLength: 1, maxLength: 256, description: "A regular expression of RE2's dialect." })),
        max_latency_ms: Type.Integer({ minimum: 1, maximum: 99_999 }),
      },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
);
export type SmokeCheck = Static<typeof SmokeCheckSchema>;

export const SmokeChecksSchema = Type.Array(SmokeCheckSchema, {
  maxItems: MAX_CHECKS,
  description:
    "Prompts that the content has to answer as expected before it is Ready. It is loaded under a name of its own for that, which is unloaded afterwards.",
});

/** Checks of a ModelAdapter as the runtime is told them. */
export function smokeChecks(checks: readonly SmokeCheckSpec[] | undefined): SmokeCheck[] {
  return (checks ?? []).map(({ name, prompt, messages, maxTokens = 16, expect: e = {} }) => ({
    ...(name === undefined ? {} : { name }),
    ...(prompt === undefined ? {} : { prompt }),
    ...(messages === undefined ? {} : { messages }),
    max_tokens: maxTokens,
    expect: {
      status: e.status ?? 200,
      not_empty: e.notEmpty ?? true,
      ...(e.contains === undefined ? {} : { contains: e.contains }),
      ...(e.matches === undefined ? {} : { matches: e.matches }),
      max_latency_ms: latencyMs(e.maxLatency),
    },
  }));
}

function latencyMs(text: string | undefined): number {
  if (text === undefined) return DEFAULT_DEADLINE_MS;
  return text.endsWith("ms") ? Number(text.slice(0, -2)) : Number(text.slice(0, -1)) * 1_000;
}

const SMOKE_NAME = /@check-[0-9a-f]{8}-[0-9a-f]{4}$/;

/** Name under which content is checked in an engine: one that no adapter can have. */
export function smokeName(adapter: string, digest: string, nonce: number): string {
  const content = /^(?:sha256:)?([0-9a-f]{8})/.exec(digest)?.[1] ?? "00000000";
  return `${adapter}@check-${content}-${Math.floor(nonce * 0x1_00_00)
    .toString(16)
    .padStart(4, "0")}`;
}

/** Whether a name of an engine is that of content that is being checked, and none that anybody should use. */
export function isSmokeName(name: string): boolean {
  return SMOKE_NAME.test(name);
}
