import { expect, test } from "vitest";
import { chooseNpmSettings } from "./npm-settings.ts";

test("a build gets what leads to packages, and no path of this machine", () => {
  const global = 'cafile = "/etc/ssl/all.pem"\nregistry=https://one.example/\nnodedir=/usr\n';
  const user = `# mine
registry = https://two.example/npm/
@scope:registry=https://three.example/
//two.example/npm/:_authToken=\${TOKEN}
prefix=/home/me
`;
  expect(chooseNpmSettings([global, user], { TOKEN: "t0k" })).toEqual({
    npmrc: `registry=https://two.example/npm/
@scope:registry=https://three.example/
//two.example/npm/:_authToken=t0k
`,
    caFile: "/etc/ssl/all.pem",
  });
});

test.each([
  {
    name: "npm's own variables win over files",
    env: { npm_config_registry: "http://127.0.0.1:1/" },
    want: "registry=http://127.0.0.1:1/\n",
  },
  {
    name: "in capitals too",
    env: { NPM_CONFIG_HTTPS_PROXY: "http://127.0.0.1:2" },
    want: "registry=file\nhttps-proxy=http://127.0.0.1:2\n",
  },
  { name: "an empty variable says nothing", env: { npm_config_registry: "" }, want: "registry=file\n" },
])("$name", ({ env, want }) => {
  expect(chooseNpmSettings(["registry=file"], env).npmrc).toBe(want);
});

test.each([
  { name: "npm's", npmrc: "cafile=/npm.pem", env: { NODE_EXTRA_CA_CERTS: "/node.pem" }, want: "/npm.pem" },
  { name: "else Node's", npmrc: "", env: { NODE_EXTRA_CA_CERTS: "/node.pem", SSL_CERT_FILE: "/ssl.pem" }, want: "/node.pem" },
  { name: "else OpenSSL's", npmrc: "", env: { SSL_CERT_FILE: "/ssl.pem" }, want: "/ssl.pem" },
  { name: "else none", npmrc: "", env: {}, want: undefined },
])("the certificates are $name", ({ npmrc, env, want }) => {
  expect(chooseNpmSettings([npmrc], env).caFile).toBe(want);
});
