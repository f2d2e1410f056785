import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createLogger } from "@aibrix/service";
import { afterEach, expect, test, vi } from "vitest";
import { followLoads } from "./load-follower.ts";
import { Loads } from "./loads.ts";

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

async function engine(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function says(status: number, ...pieces: readonly string[]): RequestListener {
  return (request, response) => {
    response.writeHead(request.url === "/metrics" ? status : 404);
    for (const piece of pieces) response.write(piece);
    response.end();
  };
}

test("what engines say counts, one that does not answer holds up no other, and the end does not wait for it", async () => {
  let asked = 0;
  const good = await engine(says(200, "vllm:num_requests_running 3\nvllm:num_requ", 'ests_waiting{a="b"} 2\n'));
  const failing = await engine(says(500, "vllm:num_requests_running 9\n"));
  const cut = await engine((_, response) => response.writeHead(200, { "content-length": "100" }).write("x", () => response.destroy()));
  const silent = await engine(() => {
    asked++;
  });
  const loads = new Loads();
  const stop = new AbortController();
  const now = (): number => performance.now();
  const log = createLogger("test", "silent");
  const following = followLoads({ loads, addresses: () => [silent, failing, cut, good], now, log, periodMs: 10 }, stop.signal);
  await vi.waitFor(() => expect([loads.of(good, now()), asked]).toEqual([5, 1]));
  expect([loads.of(failing, now()), loads.of(cut, now())]).toEqual([0, 0]);
  stop.abort();
  await following;
});

test("one that does not answer keeps the others from no round", async () => {
  let asked = 0;
  let hung = 0;
  const good = await engine((_, response) => {
    asked++;
    response.end("vllm:num_requests_running 3\n");
  });
  const silent = await engine(() => {
    hung++;
  });
  const loads = new Loads();
  const stop = new AbortController();
  const now = (): number => 0;
  const log = createLogger("test", "silent");
  const following = followLoads({ loads, addresses: () => [silent, good], now, log, periodMs: 1 }, stop.signal);
  await vi.waitFor(() => expect([loads.of(good, now()), asked > 5, hung]).toEqual([3, true, 1]));
  stop.abort();
  await following;
});

test("an engine is asked for the two gauges, and for its whole page where it tells nothing by name", async () => {
  const asked: string[] = [];
  const told = "vllm:num_requests_running 3\nvllm:num_requests_waiting 1\n";
  const byName = await engine((request, response) => {
    asked.push(`by name ${new URL(request.url ?? "", "http://engine").pathname}`);
    const { pathname, searchParams } = new URL(request.url ?? "", "http://engine");
    const isOurs =
      pathname === "/metrics/" && searchParams.getAll("name[]").join() === "vllm:num_requests_running,vllm:num_requests_waiting";
    response.end(isOurs ? told : "");
  });
  const onlyWhole = await engine((request, response) => {
    asked.push(`whole ${new URL(request.url ?? "", "http://engine").pathname}`);
    response.end(request.url === "/metrics" ? told : "");
  });
  const loads = new Loads();
  const stop = new AbortController();
  const now = (): number => 0;
  const addresses = () => [byName, onlyWhole];
  const following = followLoads({ loads, addresses, now, log: createLogger("test", "silent"), periodMs: 1 }, stop.signal);
  await vi.waitFor(() => expect([loads.of(byName, 0), loads.of(onlyWhole, 0), asked.length > 12]).toEqual([4, 4, true]));
  stop.abort();
  await following;
  const of = (what: string) => asked.filter((a) => a.startsWith(what)).map((a) => a.slice(what.length + 1));
  expect(new Set(of("by name"))).toEqual(new Set(["/metrics/"]));
  expect(of("whole").filter((path) => path === "/metrics/")).toHaveLength(1);
});

test("an engine is asked anew where choices are made by it, over one connection", async () => {
  let asked = 0;
  let connections = 0;
  let unused = 0;
  const used = await engine((_, response) => {
    asked++;
    response.end("vllm:num_requests_running 3\n");
  });
  const idle = await engine((_, response) => {
    unused++;
    response.end("vllm:num_requests_running 3\n");
  });
  servers[0]?.on("connection", () => connections++);
  const loads = new Loads();
  const stop = new AbortController();
  // It stands still: none is asked because that was long ago.
  const now = (): number => 0;
  const addresses = () => [used, idle];
  const following = followLoads({ loads, addresses, now, log: createLogger("test", "silent"), periodMs: 1 }, stop.signal);
  await vi.waitFor(() => expect([loads.of(used, now()), asked > 5]).toEqual([3, true]));
  expect([connections, unused]).toEqual([1, 1]);
  stop.abort();
  await following;
});
