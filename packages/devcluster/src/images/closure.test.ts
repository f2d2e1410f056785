import { expect, test } from "vitest";
import { parseLdd } from "./closure.ts";

test("ldd's lines are read for the files that they name", () => {
  const output = `	linux-vdso.so.1 (0x00007fc789fdd000)
	libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fc789ee7000)
	libgone.so.1 => not found
	/lib64/ld-linux-x86-64.so.2 (0x00007fc789fdf000)
`;
  expect(parseLdd(output)).toEqual(["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"]);
});
