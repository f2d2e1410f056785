import { expect } from "vitest";
import type { World } from "./world.ts";

/** Waits for nothing: compares what `kubectl describe` prints of the sample adapter, allocated to one pod, with what is documented. */
export async function expectDocumentedStatus(world: World, pod: string): Promise<void> {
  const described = await world.kubectl("describe", "modeladapter", "qwen-code-lora");
  const text = described.slice(described.indexOf("Status:")).replaceAll(/\d{4}-\d\d-\d\dT[\d:]+Z/g, "TIME");
  expect(text).toContain(`  Conditions:
    Last Transition Time:  TIME
    Message:               Starting reconciliation
    Reason:                ModelAdapterPending
    Status:                Unknown
    Type:                  Initialized
    Last Transition Time:  TIME
    Message:               ModelAdapter default/qwen-code-lora has been allocated to pod default/${pod}
    Reason:                Scheduled
    Status:                True
    Type:                  Scheduled
    Last Transition Time:  TIME
    Message:               ModelAdapter default/qwen-code-lora is ready
    Reason:                ModelAdapterAvailable
    Status:                True
    Type:                  Ready
`);
  expect(text).toContain(`\n  Instances:\n    ${pod}\n`);
  expect(text).toMatch(/\n {2}Phase: +Running\n/);
}
