import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { NEVER } from "../../../test/fakes.ts";
import { GcsSource, remoteFile, serviceAccount } from "./gcs.ts";

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
  const open = (hosts?: readonly string[]) => () => new GcsSource({ bucket: "b", prefix: "p" }, { keys: keys(KEY), hosts }, {});
  expect(open()).not.toThrow();
  expect(open(["*.googleapis.com"])).not.toThrow();
  expect(open(["files.example.com"])).toThrow(expect.objectContaining({ reason: "ArtifactNotAllowed" }));
});

test("a listing that does not end is an error, and is not asked for ever", async () => {
  let pages = 0;
  const server = createServer((_, response) => {
    pages += 1;
    response.setHeader("content-type", "application/json");
    response.end(
      JSON.stringify({
        items: [{ name: `p/${pages}`, size: "1", generation: "1" }],
        prefixes: [`p/${pages}/`],
        nextPageToken: String(pages),
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const env = { STORAGE_EMULATOR_HOST: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
    const source = new GcsSource({ bucket: "b", prefix: "p" }, { keys: {} }, env);
    await expect(source.list(NEVER)).rejects.toMatchObject({
      reason: "ArtifactInvalid",
      retryable: false,
      message: expect.stringContaining("gs://b/p/ holds more than 40 entries (20 files at its top so far)"),
    });
    expect(pages).toBe(20);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("an object is checked by its MD5, and one composed of others by its CRC32C", () => {
  // Of "123456789": the check values of the two.
  const [md5Hash, crc32c] = ["JfnnlDI7RTiF9RgfG2JNCw==", "4waSgw=="];
  const known = { size: 9, generation: 1 };
  expect(remoteFile("f", { ...known, md5Hash, crc32c })).toEqual({
    name: "f",
    sizeBytes: 9,
    etag: "1",
    md5: "25f9e794323b453885f5181f1b624d0b",
  });
  expect(remoteFile("f", { ...known, crc32c }).digests).toEqual([{ algorithm: "crc32c", hex: "e3069283" }]);
  expect(remoteFile("f", known).digests).toBeUndefined();
});
