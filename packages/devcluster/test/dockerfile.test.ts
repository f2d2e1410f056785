import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DEV_IMAGES, ownImages } from "../src/images/catalog.ts";
import { ensureHadolint } from "../src/parts/hadolint.ts";
import { run } from "../src/parts/run.ts";

const DOCKERFILE = join(import.meta.dirname, "../../../Dockerfile");
const context = { log: (line: string) => console.log(line), signal: AbortSignal.timeout(300_000) };
let hadolint: string;
let dir: string;
let text: string;

beforeAll(async () => {
  hadolint = await ensureHadolint(context);
  dir = await mkdtemp(join(tmpdir(), "dockerfile-"));
  text = await readFile(DOCKERFILE, "utf8");
});
afterAll(() => rm(dir, { recursive: true }));

const lint = (file: string) => run({ argv: [hadolint, "--no-color", file] }, context.signal);

test("hadolint finds nothing in the Dockerfile, and would", async () => {
  expect(await lint(DOCKERFILE)).toBe("");
  const worse = join(dir, "Dockerfile");
  await writeFile(worse, `${text}RUN apt-get install curl\n`);
  await expect(lint(worse)).rejects.toThrow("DL3008");
});

test("the targets that images are built from are all there", () => {
  const targets = [...text.matchAll(/^FROM \S+ AS (\S+)$/gm)].map(([, name]) => name);
  const wanted = [...ownImages(), ...DEV_IMAGES].flatMap(({ source }) => (source.kind === "dockerfile" ? [source.target] : []));
  expect(targets).toEqual(expect.arrayContaining(wanted));
});

test("programs are started without a shell, by a user's number", () => {
  const commands = [...text.matchAll(/^(ENTRYPOINT|CMD) (.*)$/gm)].map(([, , command]) => command ?? "");
  expect(commands.length).toBeGreaterThan(4);
  for (const command of commands) expect(JSON.parse(command)).not.toContain("sh");
  expect([...text.matchAll(/^USER (.*)$/gm)].map(([, user]) => user)).toEqual(["65532:65532"]);
});
