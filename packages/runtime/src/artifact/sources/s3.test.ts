import { expect, test } from "vitest";
import { s3Config } from "./s3.ts";

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
