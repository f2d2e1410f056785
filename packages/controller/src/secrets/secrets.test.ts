import { KubeError, type Secret } from "@aibrix/kube";
import { expect, test } from "vitest";
import { SecretReader } from "./secrets.ts";

const SIGNAL = new AbortController().signal;
const SPEC = { podSelector: {}, artifactURL: "s3://b/x" };

function reader(secrets: Record<string, Record<string, string>>, maxAgeMs?: number, annotations?: Record<string, string>) {
  const asked: string[] = [];
  const find = async (_resource: unknown, { namespace, name }: { namespace?: string | undefined; name: string }) => {
    asked.push(`${namespace}/${name}`);
    const data = secrets[name];
    if (name === "forbidden") throw new KubeError("no", { status: 403, reason: "Forbidden" });
    if (data === undefined) return undefined;
    const encoded = Object.fromEntries(Object.entries(data).map(([k, v]) => [k, Buffer.from(v).toString("base64")]));
    return {
      metadata: {
        name,
        uid: "u",
        resourceVersion: JSON.stringify(data).length.toString(),
        ...(annotations === undefined ? {} : { annotations }),
      },
      data: encoded,
    } as Secret;
  };
  return { asked, reader: new SecretReader({ find } as never, maxAgeMs) };
}

test("without references nothing is asked, and a plain key is taken", async () => {
  const { asked, reader: r } = reader({});
  expect(await r.forAdapter("n", { ...SPEC, additionalConfig: { "api-key": "sk" } }, SIGNAL)).toMatchObject({
    kind: "ok",
    apiKey: "sk",
    version: "",
  });
  expect(asked).toEqual([]);
});

test("both kinds are read, once a minute", async () => {
  const { asked, reader: r } = reader({ s3: { aws_region: "r" }, key: { k: "sk\n" } });
  const spec = { ...SPEC, credentialsSecretRef: { name: "s3" }, apiKeySecretRef: { name: "key", key: "k" } };
  expect(await r.forAdapter("n", spec, SIGNAL)).toMatchObject({ kind: "ok", credentials: { aws_region: "r" }, apiKey: "sk" });
  await r.forAdapter("n", spec, SIGNAL);
  expect(asked).toEqual(["n/s3", "n/key"]);
});

test("of credentials only what the sidecar reads is taken, in upper case too", async () => {
  const { reader: r } = reader({
    s3: { aws_access_key_id: "id", AWS_SECRET_ACCESS_KEY: "secret", AWS_ACCESS_KEY_ID: "other", "tls.key": "private", password: "p" },
    none: { passphrase: "p" },
  });
  const read = (name: string) => r.forAdapter("n", { ...SPEC, credentialsSecretRef: { name } }, SIGNAL);
  expect(await read("s3")).toMatchObject({ kind: "ok", credentials: { aws_access_key_id: "id", aws_secret_access_key: "secret" } });
  expect(Object.keys(((await read("s3")) as { credentials: object }).credentials)).toHaveLength(2);
  const none = await read("none");
  expect(none).toMatchObject({
    kind: "missing",
    message: expect.stringMatching(/the Secret none .* has no key that is read \(aws_access_key_id, /),
  });
  expect(JSON.stringify(none)).not.toContain("passphrase");
});

test("a change is seen once what was read is old", async () => {
  const secrets = { key: { k: "one" } };
  const { reader: r } = reader(secrets, 0);
  const spec = { ...SPEC, apiKeySecretRef: { name: "key", key: "k" } };
  const first = await r.forAdapter("n", spec, SIGNAL);
  secrets.key = { k: "three" };
  const second = await r.forAdapter("n", spec, SIGNAL);
  expect(second).toMatchObject({ apiKey: "three" });
  expect(second.kind === "ok" && first.kind === "ok" && second.version !== first.version).toBe(true);
});

test.each([
  {
    spec: { credentialsSecretRef: { name: "none" } },
    want: /the Secret none of credentialsSecretRef does not exist in the namespace n: create it/,
  },
  { spec: { apiKeySecretRef: { name: "key", key: "other" } }, want: /the Secret key has no key other/ },
])("what is missing is named: $spec", async ({ spec, want }) => {
  const { reader: r } = reader({ key: { k: "sk" } });
  expect(await r.forAdapter("n", { ...SPEC, ...spec }, SIGNAL)).toMatchObject({ kind: "missing", message: expect.stringMatching(want) });
});

test("the hosts that credentials may go to are the annotation's", async () => {
  const spec = { ...SPEC, credentialsSecretRef: { name: "s3" } };
  const read = (annotation?: string) =>
    reader(
      { s3: { aws_region: "r" } },
      undefined,
      annotation === undefined ? {} : { "model.aibrix.ai/allowed-hosts": annotation },
    ).reader.forAdapter("n", spec, SIGNAL);
  expect(await read("a.example, *.b.example")).toMatchObject({ kind: "ok", credentialsHosts: ["a.example", "*.b.example"] });
  expect(await read("")).toMatchObject({ kind: "ok", credentialsHosts: [] });
  expect(await read()).toMatchObject({ kind: "ok", credentialsHosts: undefined });
  expect(await read("https://a.example/")).toMatchObject({
    kind: "missing",
    message: expect.stringMatching(/annotation model\.aibrix\.ai\/allowed-hosts of the Secret s3: "https:\/\/a\.example\/" is no host/),
  });
});

test("one that may not be read says so, and is no missing one", async () => {
  const { reader: r } = reader({});
  expect(await r.forAdapter("n", { ...SPEC, credentialsSecretRef: { name: "forbidden" } }, SIGNAL)).toMatchObject({
    kind: "forbidden",
    message: expect.stringMatching(/may not read the Secret forbidden of credentialsSecretRef .*apply the controller's RBAC/),
  });
});

test("an API server that does not answer: told as that, not asked at every turn, and what was read last counts", async () => {
  const down = () => Promise.reject(new KubeError("GET: 503 ServiceUnavailable", { status: 503, reason: "ServiceUnavailable" }));
  let asked = 0;
  let answer: () => Promise<Secret | undefined> = down;
  const find = async () => {
    asked++;
    return await answer();
  };
  const spec = { ...SPEC, apiKeySecretRef: { name: "key", key: "k" } };
  const never = new SecretReader({ find } as never);
  for (let turn = 0; turn < 5; turn++) {
    expect(await never.forAdapter("n", spec, SIGNAL)).toMatchObject({
      kind: "unavailable",
      message: expect.stringMatching(/does not give the Secret key of apiKeySecretRef .*503 ServiceUnavailable.*asked again/),
    });
  }
  expect(asked).toBe(1);
  answer = async () => ({ metadata: { name: "key", uid: "u", resourceVersion: "1" }, data: { k: Buffer.from("sk").toString("base64") } });
  const once = new SecretReader({ find } as never, 0);
  const first = await once.forAdapter("n", spec, SIGNAL);
  answer = down;
  expect(first).toMatchObject({ kind: "ok", apiKey: "sk" });
  expect(await once.forAdapter("n", spec, SIGNAL)).toEqual(first);
});
