import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What becomes of a call: it is passed on, or answered by this. */
export type Rule = (call: IncomingMessage) => ((answer: ServerResponse) => void) | undefined;

/** A way to a server that answers some calls itself. */
export interface Front {
  readonly url: string;
  /** Replaces the rule for calls to come. */
  rule: Rule;
  readonly close: () => Promise<void>;
}

export async function startFront(target: string): Promise<Front> {
  const server = createServer((call, answer) => {
    const own = front.rule(call);
    if (own !== undefined) return own(answer);
    const onward = request(new URL(call.url ?? "/", target), { method: call.method ?? "GET", headers: call.headers }, (came) => {
      answer.writeHead(came.statusCode ?? 502, came.headers);
      came.pipe(answer);
    });
    answer.once("close", () => onward.destroy());
    onward.once("error", () => answer.destroy());
    call.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const front: Front = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rule: () => undefined,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return front;
}
