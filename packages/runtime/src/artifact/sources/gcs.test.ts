import { BlockList } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Egress } from "../../egress/egress.ts";
import { GcsSource, serviceAccount } from "./gcs.ts";

let egress: Egress;
beforeEach(() => {
  egress = new Egress({ hosts: [], networks: new BlockList() }, {}, 2_000);
});
afterEach(async () => {
  await egress.close();
});

const KEY = { type: "service_account", client_email: "a@b.iam.gserviceaccount.com", private_key: "PRIVATE", private_key_id: "1" };
const keys = (json: unknown) => ({ gcp_service_account_json: typeof json === "string" ? json : JSON.stringify(json) });

test("of a service account's JSON only the key is taken, never a URL", () => {
  const json = { ...KEY, token_uri: "http://169.254.169.254/", auth_uri: "http://evil" };
  expect(serviceAccount(keys(json))).toEqual({ email: KEY.client_email, key: "PRIVATE", keyId: "1" });
  expect(serviceAccount({})).toBeUndefined();
});

test.each([
  { name: "no JSON", json: "PRIVATE{", says: "no key of a service account" },
  { name: "null", json: null, says: "no key of a service account" },
  {
    name: "a file that names a program",
    json: { type: "external_account", credential_source: { executable: { command: "/bin/x" } } },
    says: "no key of a service account",
  },
  { name: "another cloud", json: { ...KEY, universe_domain: "evil.example" }, says: "another cloud" },
])("$name is refused", ({ json, says }) => {
  const read = () => serviceAccount(keys(json));
  expect(read).toThrow(expect.objectContaining({ reason: "ArtifactDenied", message: expect.stringContaining(says) }));
  expect(read).not.toThrow(/PRIVATE/);
});

test("a Secret goes to Google only where it does not name other hosts", () => {
  const open = (hosts?: readonly string[]) => () => new GcsSource({ bucket: "b", prefix: "p" }, { keys: keys(KEY), hosts }, {}, egress);
  expect(open()).not.toThrow();
  expect(open(["*.googleapis.com"])).not.toThrow();
  expect(open(["files.example.com"])).toThrow(expect.objectContaining({ reason: "ArtifactNotAllowed" }));
});
