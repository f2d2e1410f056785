import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { stringify } from "yaml";
import { writeKubeconfig } from "./kubeconfig.ts";
import { readKubeconfig } from "./read-kubeconfig.ts";

async function written(client: object): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "aibrix-kubeconfig-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  await writeKubeconfig(join(dir, "config"), { name: "node", server: "https://192.0.2.1:6443", ca: "CA", ...client });
  return readFileSync(join(dir, "config"), "utf8");
}

test("what is written is read again", async () => {
  expect(readKubeconfig(await written({ cert: "CERT", key: "KEY" }))).toEqual({
    server: "https://192.0.2.1:6443",
    ca: "CA",
    cert: "CERT",
    key: "KEY",
  });
});

test("of several contexts the current one counts", () => {
  const data = (text: string) => Buffer.from(text).toString("base64");
  const user = (of: string) => ({ "client-certificate-data": data(`cert-${of}`), "client-key-data": data(`key-${of}`) });
  const names = ["other", "kind-aibrix-1"];
  const text = stringify({
    "current-context": "kind-aibrix-1",
    contexts: names.map((name) => ({ name, context: { cluster: name, user: name } })),
    clusters: names.map((name) => ({ name, cluster: { server: `https://${name}`, "certificate-authority-data": data(`ca-${name}`) } })),
    users: names.map((name) => ({ name, user: user(name) })),
  });
  expect(readKubeconfig(text)).toEqual({
    server: "https://kind-aibrix-1",
    ca: "ca-kind-aibrix-1",
    cert: "cert-kind-aibrix-1",
    key: "key-kind-aibrix-1",
  });
});

test("one with a token is refused", async () => {
  expect(readKubeconfig.bind(undefined, await written({ token: "t" }))).toThrow(/no certificate of a user/);
});
