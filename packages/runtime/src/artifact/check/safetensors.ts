import { open } from "node:fs/promises";
import { AdapterError } from "../../errors.ts";

/** The format's own bound on its header (safetensors, `MAX_HEADER_SIZE`). */
const MAX_HEADER_BYTES = 100_000_000;

const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
};

/**
 * Checks that a safetensors file is whole: the header is valid, and its tensors cover the rest of the file exactly.
 * Reads the header only.
 *
 * @param name - the file's name, for messages
 * @throws AdapterError `ArtifactInvalid`
 */
export async function checkSafetensors(path: string, name: string): Promise<void> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const prefix = Buffer.alloc(8);
    const { bytesRead } = await file.read(prefix, 0, 8, 0);
    if (bytesRead < 8) throw damaged(name, `it has ${size} bytes`);
    const headerBytes = prefix.readBigUInt64LE();
    if (headerBytes > BigInt(MAX_HEADER_BYTES))
      throw damaged(name, `its first bytes announce a header of ${headerBytes} bytes: it is no safetensors file`);
    if (headerBytes > BigInt(size - 8)) throw truncated(name, size, Number(headerBytes) + 8);
    const header = Buffer.alloc(Number(headerBytes));
    await file.read(header, 0, header.length, 8);
    checkCover(header.toString("utf8"), size - 8 - header.length, { name, size });
  } finally {
    await file.close();
  }
}

function checkCover(headerText: string, dataBytes: number, file: { readonly name: string; readonly size: number }): void {
  let header: unknown;
  try {
    header = JSON.parse(headerText);
  } catch {
    throw damaged(file.name, "its header is not JSON");
  }
  if (header === null || typeof header !== "object" || Array.isArray(header)) throw damaged(file.name, "its header is not an object");
  const spans = Object.entries(header)
    .filter(([tensor]) => tensor !== "__metadata__")
    .map(([tensor, info]) => span(tensor, info, file.name))
    .sort(([a], [b]) => a - b);
  let end = 0;
  for (const [from, to] of spans) {
    if (from !== end) throw damaged(file.name, `its tensors leave a gap or overlap at byte ${end}`);
    end = to;
  }
  if (end > dataBytes) throw truncated(file.name, file.size, file.size - dataBytes + end);
  if (end < dataBytes) throw damaged(file.name, `${dataBytes - end} bytes follow its last tensor`);
}

/** Where a tensor's bytes are, from the start of the data. */
function span(tensor: string, info: unknown, name: string): readonly [number, number] {
  const { dtype, shape, data_offsets: offsets } = (info ?? {}) as { dtype?: unknown; shape?: unknown; data_offsets?: unknown };
  const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  const [from, to] = Array.isArray(offsets) ? (offsets as unknown[]) : [];
  if (typeof dtype !== "string" || !Array.isArray(shape) || !shape.every(isCount) || !isCount(from) || !isCount(to) || to < from)
    throw damaged(name, `its header does not describe tensor "${tensor.slice(0, 100)}"`);
  const elementBytes = ELEMENT_BYTES[dtype];
  const bytes = shape.reduce((product, n) => product * n, elementBytes ?? 0);
  if (elementBytes !== undefined && bytes !== to - from)
    throw damaged(name, `tensor "${tensor.slice(0, 100)}" takes ${bytes} bytes by its shape and ${to - from} by its place`);
  return [from, to];
}

function truncated(name: string, size: number, expected: number): AdapterError {
  return new AdapterError(
    "ArtifactInvalid",
    `${name} is truncated: it has ${size} bytes, its header asks for ${expected}; upload the file again`,
  );
}

function damaged(name: string, detail: string): AdapterError {
  return new AdapterError("ArtifactInvalid", `${name} is damaged: ${detail}; upload the file again`);
}
