import { expect, test } from "vitest";
import { allowedHosts, BadHostsError, hostMatches } from "./allowed-hosts.ts";

test("a list is split at its commas, in lower case", () => {
  expect(allowedHosts(" Files.example.com, *.s3.example.com,10.0.0.7:9000 ,[fd00::7]:80,")).toEqual([
    "files.example.com",
    "*.s3.example.com",
    "10.0.0.7:9000",
    "[fd00::7]:80",
  ]);
  expect(allowedHosts("")).toEqual([]);
});

test.each(["https://files.example.com", "files.example.com/x", "*", "*.", "a b", "fd00::7", "host:"])("refuses %j", (list) => {
  expect(() => allowedHosts(list)).toThrow(BadHostsError);
});

test.each([
  { entry: "files.example.com", url: "https://FILES.example.com./x", want: true },
  { entry: "files.example.com", url: "https://files.example.com:8443/x", want: true },
  { entry: "files.example.com", url: "https://evil.files.example.com/x", want: false },
  { entry: "files.example.com", url: "https://files.example.com.evil/x", want: false },
  { entry: "*.example.com", url: "https://a.b.example.com/x", want: true },
  { entry: "*.example.com", url: "https://example.com/x", want: false },
  { entry: "*.example.com", url: "https://evilexample.com/x", want: false },
  { entry: "h:443", url: "https://h/x", want: true },
  { entry: "h:443", url: "http://h/x", want: false },
  { entry: "h:80", url: "http://h/x", want: true },
  { entry: "10.0.0.7:9000", url: "http://10.0.0.7:9000/", want: true },
  { entry: "10.0.0.7:9000", url: "http://10.0.0.7:9001/", want: false },
  { entry: "[fd00::7]", url: "http://[FD00:0::7]:1/", want: true },
])("$entry and $url: $want", ({ entry, url, want }) => {
  expect(hostMatches(entry, new URL(url))).toBe(want);
});
