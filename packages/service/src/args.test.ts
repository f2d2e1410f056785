import { expect, test } from "vitest";
import { ConfigError, everyAddress, helpText, readBindAddress, readFlags } from "./args.ts";

const address = (family: "IPv4" | "IPv6") => ({ family, address: "", netmask: "", mac: "", internal: true, cidr: null, scopeid: 0 });
test.each([
  { interfaces: { lo: [address("IPv4")] }, want: "0.0.0.0" },
  { interfaces: { lo: [address("IPv4"), address("IPv6")] }, want: "::" },
  { interfaces: { eth0: [address("IPv6")] }, want: "::" },
  { interfaces: {}, want: "0.0.0.0" },
])("every address of $interfaces is $want", ({ interfaces, want }) => {
  expect(everyAddress(interfaces as Parameters<typeof everyAddress>[0])).toBe(want);
});

const FLAGS = {
  port: { type: "string", default: "8080", value: "PORT", help: "Port to listen on." },
  dir: { type: "string", help: "A folder." },
  label: { type: "string", multiple: true, help: "Repeatable." },
  verbose: { type: "boolean", help: "More." },
} as const;

test.each([
  { argv: [], want: { port: "8080", dir: undefined, label: [], verbose: false } },
  {
    argv: ["--port=9", "--dir", "x", "--label=a=b", "--label=c=d", "--verbose"],
    want: { port: "9", dir: "x", label: ["a=b", "c=d"], verbose: true },
  },
])("reads $argv", ({ argv, want }) => {
  expect(readFlags(FLAGS, argv)).toEqual(want);
});

test.each([["--help"], ["-h"]])("%s asks for help", (flag) => {
  expect(readFlags(FLAGS, [flag])).toBeUndefined();
  expect(helpText("usage: x", FLAGS)).toMatch(/--port=PORT +Port to listen on. \(default 8080\)/);
});

test.each([[["--nope"]], [["stray"]], [["--port"]]])("refuses %j and points to --help", (argv) => {
  expect(() => readFlags(FLAGS, argv)).toThrow(ConfigError);
  expect(() => readFlags(FLAGS, argv)).toThrow(/--help/);
});

test.each([
  { value: ":8080", want: { host: everyAddress(), port: 8080 } },
  { value: "127.0.0.1:1", want: { host: "127.0.0.1", port: 1 } },
  { value: "[::1]:50052", want: { host: "::1", port: 50052 } },
  { value: "0", want: undefined },
])("reads the address $value", ({ value, want }) => {
  expect(readBindAddress("x", value)).toEqual(want);
});

test.each(["8080", ":99999", "a:b:1", ""])("refuses the address %j", (value) => {
  expect(() => readBindAddress("metrics-bind-address", value)).toThrow(/--metrics-bind-address=.*such as :8080/);
});
