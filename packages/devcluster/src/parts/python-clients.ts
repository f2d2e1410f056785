import { ensureCached } from "./cache.ts";
import type { PartContext } from "./part-context.ts";
import { withProgress } from "./progress.ts";
import { findPython, pipInstall } from "./python.ts";
import { run } from "./run.ts";

/** Counts up with the list below. */
const VERSION = "1";

/** Python's clients of S3 and of the Hub, and what they need, each at the version that was tried together. */
const REQUIREMENTS = [
  "awscli==1.46.3",
  "colorama==0.4.6",
  "docutils==0.19",
  "jmespath==1.1.0",
  "pyasn1==0.6.5",
  "python-dateutil==2.9.0.post0",
  "PyYAML==6.0.4",
  "rsa==4.7.2",
  "six==1.17.0",
  "urllib3==2.8.0",
  "huggingface_hub==2.4.0",
  "anyio==4.16.0",
  "click==8.5.1",
  "filelock==4.3.1",
  "fsspec==2026.9.0",
  "h11==0.16.0",
  "hf-xet==1.8.0",
  "httpcore2==2.16.2",
  "httpx2==2.16.2",
  "idna==3.20",
  "packaging==26.4",
  "tqdm==4.70.1",
  "truststore==0.10.5",
  "typing_extensions==4.16.0",
];

/** How to run Python with the clients. */
export interface PythonClients {
  /** The interpreter. */
  readonly bin: string;
  /** What `PYTHONPATH` is to be. */
  readonly path: string;
}

/**
 * Amazon's command line (`python -m awscli`) and huggingface_hub, which measurements compare with; installed from Python packages.
 * @throws PartError naming what is missing.
 */
export async function ensurePythonClients(context: PartContext): Promise<PythonClients> {
  const python = await findPython("the clients to compare with", undefined, context.signal);
  const name = `python-clients-${python.major}.${python.minor}`;
  const path = await ensureCached({ name, version: VERSION, recipe: 1 }, context, (target) =>
    withProgress("installing Amazon's and the Hub's Python clients", context, async () => {
      await run({ argv: pipInstall(python, target, ...REQUIREMENTS), timeoutMs: 10 * 60_000 }, context.signal);
    }),
  );
  return { bin: python.bin, path };
}
