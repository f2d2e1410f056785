import { request } from "node:https";
import type { ClientConfig } from "@aibrix/devcluster";

/** What the API server answered. */
export interface Answer {
  readonly status: number;
  readonly body: { readonly message?: string; readonly reason?: string; readonly [field: string]: unknown };
}

/** One call with a body, as `kubectl apply --validate=strict` would send it. */
export function call(config: ClientConfig, method: string, path: string, body?: unknown): Promise<Answer> {
  const { server, ca, cert, key } = config;
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = { accept: "application/json", ...(text === undefined ? {} : { "content-type": "application/json" }) };
  return new Promise((resolve, reject) => {
    const req = request(`${server}${path}`, { method, ca, cert, key, headers, agent: false, timeout: 20_000 }, (answer) => {
      let all = "";
      answer.setEncoding("utf8").on("data", (part: string) => {
        all += part;
      });
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, body: all.startsWith("{") ? JSON.parse(all) : { message: all } }));
      answer.on("error", reject);
    });
    req.on("timeout", () => req.destroy(new Error(`${method} ${path}: no answer`)));
    req.on("error", reject);
    req.end(text);
  });
}
