import { expect, test } from "vitest";
import { readTracing } from "./settings.ts";

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" };

test.each([
  { name: "nothing", env: {}, want: undefined },
  { name: "an endpoint", env: ENDPOINT, want: { ratio: 1 } },
  { name: "an endpoint for traces", env: { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://collector:4318/v1/traces" }, want: { ratio: 1 } },
  { name: "a share", env: { ...ENDPOINT, OTEL_TRACES_SAMPLER_ARG: "0.1" }, want: { ratio: 0.1 } },
  { name: "no share", env: { ...ENDPOINT, OTEL_TRACES_SAMPLER_ARG: "0" }, want: { ratio: 0 } },
  { name: "the SDK switched off", env: { ...ENDPOINT, OTEL_SDK_DISABLED: "true" }, want: undefined },
  { name: "no exporter", env: { ...ENDPOINT, OTEL_TRACES_EXPORTER: "none" }, want: undefined },
])("$name", ({ env, want }) => {
  expect(readTracing(env)).toEqual(want);
});

test("what cannot be used is refused, and not repeated", () => {
  expect(() => readTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: "secret" })).toThrow(/^OTEL_EXPORTER_OTLP_ENDPOINT: write a URL/);
  expect(() => readTracing({ ...ENDPOINT, OTEL_TRACES_SAMPLER_ARG: "2" })).toThrow("a share from 0 to 1");
});
