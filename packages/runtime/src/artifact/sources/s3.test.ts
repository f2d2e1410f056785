import { BlockList } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { NEVER } from "../../../test/fakes.ts";
import { Egress } from "../../egress/egress.ts";
import { knownKeys } from "./credentials.ts";
import { S3Source, s3Config, statedDigests } from "./s3.ts";

const KEYS = { aws_access_key_id: "id", aws_secret_access_key: "secret" };

test.each([
  {
    name: "nothing: the SDK's own chain decides",
    credentials: {},
    env: {},
    want: { endpoint: undefined, region: undefined, credentials: undefined },
  },
  { name: "keys of the Secret", credentials: KEYS, env: {}, want: { credentials: { accessKeyId: "id", secretAccessKey: "secret" } } },
  {
    name: "a session token",
    credentials: { ...KEYS, aws_session_token: "token" },
    env: {},
    want: { credentials: { accessKeyId: "id", secretAccessKey: "secret", sessionToken: "token" } },
  },
  {
    name: "an endpoint of the Secret: path style, and a region that it takes",
    credentials: { aws_endpoint_url: "http://s3:9000" },
    env: { AWS_ENDPOINT_URL: "http://other" },
    want: { endpoint: "http://s3:9000", forcePathStyle: true, region: "us-east-1" },
  },
  {
    name: "an endpoint of the environment",
    credentials: {},
    env: { AWS_ENDPOINT_URL: "http://s3:9000" },
    want: { endpoint: "http://s3:9000", forcePathStyle: true },
  },
  {
    name: "the region of the Secret",
    credentials: { aws_region: "eu-west-1" },
    env: { AWS_REGION: "us-west-2" },
    want: { region: "eu-west-1" },
  },
  { name: "the region of the environment", credentials: {}, env: { AWS_DEFAULT_REGION: "us-west-2" }, want: { region: "us-west-2" } },
])("settings from $name", ({ credentials, env, want }) => {
  expect({ endpoint: undefined, region: undefined, credentials: undefined, ...s3Config(credentials, env) }).toMatchObject(want);
});

test("half a key is refused", () => {
  expect(() => s3Config({ aws_access_key_id: "id" }, {})).toThrow("write both");
});

test("keys of a Secret count in upper case too, and others not at all", () => {
  expect(
    knownKeys({
      AWS_ACCESS_KEY_ID: "id",
      aws_secret_access_key: "s",
      AWS_SECRET_ACCESS_KEY: "other",
      HUGGINGFACE_TOKEN: "t",
      password: "p",
    }),
  ).toEqual({
    aws_access_key_id: "id",
    aws_secret_access_key: "s",
    huggingface_token: "t",
  });
});

const HEX32 = "a".repeat(32);
const MD5 = [{ algorithm: "md5", hex: HEX32 }];

test.each([
  { name: "a plain object", head: {}, want: MD5 },
  { name: "an object with Amazon's own encryption, which all have", head: { ServerSideEncryption: "AES256" } as const, want: MD5 },
  { name: "an object with a key of KMS", head: { ServerSideEncryption: "aws:kms" } as const, want: [] },
  { name: "an object with two keys of KMS", head: { ServerSideEncryption: "aws:kms:dsse" } as const, want: [] },
  { name: "an object with the customer's key", head: { SSECustomerAlgorithm: "AES256" }, want: [] },
  { name: "an object in a directory bucket", head: {}, bucket: "b--use1-az4--x-s3", want: [] },
  { name: "an object of several parts", head: { ETag: `"${HEX32}-2"`, ServerSideEncryption: "AES256" } as const, want: [] },
])("the ETag as MD5 of $name", ({ head, bucket = "b", want }) => {
  expect(statedDigests({ ETag: `"${HEX32}"`, ...head }, bucket)).toEqual(want);
});

describe("where keys go", () => {
  const env = { AWS_ENDPOINT_URL: "http://127.0.0.1:9", AWS_ACCESS_KEY_ID: "own", AWS_SECRET_ACCESS_KEY: "own", AWS_REGION: "us-east-1" };
  let egress: Egress;
  beforeEach(() => {
    egress = new Egress({ hosts: [], networks: new BlockList() }, env, 2_000);
  });
  afterEach(async () => {
    await egress.close();
  });

  function open(keys: Record<string, string>, hosts?: readonly string[]) {
    return new S3Source({ bucket: "models", prefix: "x" }, { keys, hosts }, env, egress);
  }

  test.each([
    { name: "the runtime's own endpoint", keys: {} },
    { name: "the Secret's keys at the runtime's endpoint", keys: KEYS },
    { name: "the Secret's endpoint", keys: { ...KEYS, aws_endpoint_url: "http://minio.example.com:9000" } },
    { name: "a host that the Secret names", keys: { ...KEYS, aws_endpoint_url: "http://10.0.0.7:9000" }, hosts: ["10.0.0.7:9000"] },
    ...[
      "s3.us-east-1.amazonaws.com",
      "s3.amazonaws.com",
      "s3-us-west-2.amazonaws.com",
      "s3.dualstack.eu-central-1.amazonaws.com",
      "s3-fips.us-gov-west-1.amazonaws.com",
      "s3-accelerate.dualstack.amazonaws.com",
      "models.s3.eu-west-1.amazonaws.com",
      "bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com",
      "s3express-use1-az4.us-east-1.amazonaws.com",
      "s3.cn-north-1.amazonaws.com.cn",
    ].map((host) => ({
      name: `Amazon (${host}), with the runtime's own`,
      keys: { aws_endpoint_url: `https://${host}` },
      hosts: undefined,
    })),
  ])("to $name", ({ keys, hosts }) => {
    expect(() => open(keys, hosts)).not.toThrow();
  });

  test.each([
    {
      name: "a host that the Secret does not name",
      keys: { ...KEYS, aws_endpoint_url: "http://10.0.0.7:9000" },
      hosts: ["minio.example.com"],
      reason: "ArtifactNotAllowed",
      says: /allowed-hosts/,
    },
    {
      name: "the metadata server",
      keys: { ...KEYS, aws_endpoint_url: "http://169.254.169.254" },
      reason: "ArtifactNotAllowed",
      says: /--allow-artifact-hosts/,
    },
    {
      name: "the metadata server, whatever the Secret says",
      keys: { ...KEYS, aws_endpoint_url: "http://169.254.169.254" },
      hosts: ["169.254.169.254"],
      reason: "ArtifactNotAllowed",
      says: /--allow-artifact-hosts/,
    },
    {
      name: "a stranger's endpoint, with the runtime's own keys",
      keys: { aws_endpoint_url: "http://evil.example.com" },
      reason: "ArtifactDenied",
      says: /no AWS credentials.*runtime's own/,
    },
    ...[
      "x1y2z3.execute-api.us-east-1.amazonaws.com",
      "s3.execute-api.us-east-1.amazonaws.com",
      "s3-mine.us-east-1.elb.amazonaws.com",
      "my.s3.us-east-1.elb.amazonaws.com",
      "ec2-192-0-2-1.compute-1.amazonaws.com",
      "sts.us-east-1.amazonaws.com",
      "models.s3-website-us-east-1.amazonaws.com",
    ].map((host) => ({
      name: `${host}, which is no S3 of Amazon`,
      keys: { aws_endpoint_url: `https://${host}` },
      hosts: undefined,
      reason: "ArtifactDenied",
      says: /no AWS credentials/,
    })),
    {
      name: "what looks like Amazon",
      keys: { aws_endpoint_url: "https://s3.amazonaws.com.evil.example" },
      reason: "ArtifactDenied",
      says: /no AWS credentials/,
    },
    {
      name: "no URL",
      keys: { ...KEYS, aws_endpoint_url: "minio:9000" },
      reason: "ArtifactUnavailable",
      says: /aws_endpoint_url in the Secret is no URL/,
    },
  ])("never to $name", ({ keys, hosts, reason, says }) => {
    const make = () => open(keys, hosts);
    expect(make).toThrow(expect.objectContaining({ reason, retryable: false, message: expect.stringMatching(says) }));
  });

  test.each(["http://me:hunter2@minio.example.com", "https://hunter2@minio.example.com:9000/x"])(
    "a password in an endpoint is refused, and not shown: %s",
    (aws_endpoint_url) => {
      const make = () => open({ ...KEYS, aws_endpoint_url });
      expect(make).toThrow(/aws_endpoint_url in the Secret holds a user name or a password.*aws_access_key_id/);
      expect(make).not.toThrow(/hunter2/);
    },
  );

  test("a Secret that names other hosts is kept from Amazon as well", async () => {
    const none = new Egress({ hosts: [], networks: new BlockList() }, {}, 2_000);
    const source = new S3Source(
      { bucket: "models", prefix: "x" },
      { keys: { ...KEYS, aws_region: "us-east-1" }, hosts: ["minio.example.com"] },
      {},
      none,
    );
    await expect(source.list(NEVER)).rejects.toMatchObject({
      reason: "ArtifactNotAllowed",
      message: expect.stringContaining("amazonaws.com"),
    });
    source.close();
    await none.close();
  });
});
