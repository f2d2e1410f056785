import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { podFacts } from "../pods/facts.ts";
import { AgentPool } from "./pool.ts";

const LOG = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const POD = podFacts({
  metadata: { name: "p", namespace: "default", uid: "u" },
  spec: { containers: [{ name: "vllm", ports: [{ containerPort: 8000 }] }, { name: "aibrix-runtime" }] },
  status: { phase: "Running", podIPs: [{ ip: "10.0.0.1" }] },
});

test("a pod that goes while it gives an adapter up is not followed again", async () => {
  const engine = createServer();
  await new Promise<void>((resolve) => engine.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(engine.address() as AddressInfo).port}`;
  const pool = new AgentPool({ runtimeSidecar: true, connect: () => url, log: LOG, onChange: () => undefined });
  // Gone before the engine answers.
  engine.on("request", (_asked, reply) => {
    pool.removePod(POD.key);
    reply.end("Success");
  });
  try {
    await pool.release(
      POD,
      {},
      { name: "x", apiKey: undefined, owner: undefined, cleanup: true, graceSeconds: 0 },
      AbortSignal.timeout(10_000),
    );
    expect(pool.size).toBe(0);
  } finally {
    await pool.close();
    engine.close();
  }
});
