import { Pool } from "undici";

/** What came of a load. */
export interface LoadResult {
  readonly sent: number;
  readonly failures: ReadonlyMap<string, number>;
  readonly durationMs: number;
}

/** Sends `total` requests, `concurrency` at a time. A failure is every answer that is not 200, and every request without one. */
export async function load(url: string, path: string, body: string, total: number, concurrency: number): Promise<LoadResult> {
  const pool = new Pool(url, { connections: concurrency });
  const failures = new Map<string, number>();
  let sent = 0;
  const worker = async (): Promise<void> => {
    while (sent < total) {
      sent += 1;
      const problem = await one(pool, path, body);
      if (problem !== undefined) failures.set(problem, (failures.get(problem) ?? 0) + 1);
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: concurrency }, worker));
  const durationMs = performance.now() - started;
  await pool.destroy();
  return { sent, failures, durationMs };
}

async function one(pool: Pool, path: string, body: string): Promise<string | undefined> {
  try {
    const answer = await pool.request({ method: "POST", path, body, headers: { "content-type": "application/json" } });
    if (answer.statusCode === 200) {
      await answer.body.dump();
      return undefined;
    }
    return `${answer.statusCode} ${(await answer.body.text()).slice(0, 200)}`;
  } catch (error) {
    return (error as Error).message;
  }
}
