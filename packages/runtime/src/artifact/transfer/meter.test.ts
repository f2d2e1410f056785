import { expect, test } from "vitest";
import { Meter } from "./meter.ts";

test("counts what came and what was here; the rate is that of the last seconds", () => {
  let now = 0;
  const meter = new Meter(10_000, () => now);
  meter.adjust(4_000);
  expect(meter.progress).toEqual({ bytes: 4_000, totalBytes: 10_000, bytesPerSecond: 0 });
  for (let i = 0; i < 20; i += 1) {
    now += 1_000;
    meter.receive(i < 10 ? 100 : 200);
  }
  expect(meter.progress).toEqual({ bytes: 7_000, totalBytes: 10_000, bytesPerSecond: 200 });
  meter.adjust(-7_000);
  now += 60_000;
  expect(meter.progress).toMatchObject({ bytes: 0, bytesPerSecond: expect.toSatisfy((rate: number) => rate < 40) });
});
