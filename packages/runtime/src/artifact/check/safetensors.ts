import { AdapterError } from "../../errors.ts";
import { brief } from "./config.ts";
import type { AdapterFile } from "./files.ts";

/**
 * The largest header that is read. The format allows 100,000,000 bytes, which parsed would be more memory than a sidecar has. An adapter on
 * every expert of the largest models in use, 140,000 tensors, has one of 21 MB.
 */
export const MAX_HEADER_BYTES = 32 * 1024 * 1024;
/** What is read at first: nearly every adapter's header is in it, which saves a second request. */
const FIRST_BYTES = 64 * 1024;
const LENGTH_BYTES = 8;

/** Bytes of one element. A type that is not here has a length that is not checked. */
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

/** A tensor as the header describes it. */
export interface Tensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

/**
 * Reads a safetensors file's header, and checks that the file is whole: the header is valid, and its tensors cover the rest exactly.
 * The weights themselves are not read.
 *
 * @throws AdapterError `ArtifactInvalid`
 */
export async function readTensors(file: AdapterFile, signal: AbortSignal): Promise<readonly Tensor[]> {
  const { name, sizeBytes } = file;
  if (sizeBytes < LENGTH_BYTES) throw damaged(name, `it has ${sizeBytes} bytes`);
  const start = await file.read(0, Math.min(FIRST_BYTES, sizeBytes), signal);
  const headerBytes = start.readBigUInt64LE();
  // Another number than a length stands there in what is no safetensors file at all, which is the likely reason for one beyond the format's bound.
  if (headerBytes > 100_000_000n)
    throw damaged(name, `its first bytes announce a header of ${headerBytes} bytes: it is no safetensors file`);
  const end = LENGTH_BYTES + Number(headerBytes);
  if (end > sizeBytes) throw truncated(name, sizeBytes, end);
  if (end - LENGTH_BYTES > MAX_HEADER_BYTES)
    throw new AdapterError(
      "ArtifactInvalid",
      `${name} has a header of ${headerBytes} bytes, of which the runtime reads ${MAX_HEADER_BYTES} at most: save the adapter with fewer tensors`,
    );
  const rest = end > start.length ? await file.read(start.length, end, signal) : Buffer.alloc(0);
  const header = Buffer.concat([start.subarray(LENGTH_BYTES, Math.min(end, start.length)), rest]);
  return parseHeader(header.toString("utf8"), sizeBytes - end, { name, sizeBytes });
}

function parseHeader(text: string, dataBytes: number, file: { readonly name: string; readonly sizeBytes: number }): readonly Tensor[] {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    throw damaged(file.name, "its header is not JSON");
  }
  if (header === null || typeof header !== "object" || Array.isArray(header)) throw damaged(file.name, "its header is not an object");
  const places: Place[] = [];
  for (const [name, info] of Object.entries(header) as [string, unknown][]) {
    if (name === "__metadata__") checkMetadata(info, file.name);
    else places.push(readPlace(name, info, file.name));
  }
  places.sort((a, b) => a.from - b.from || a.to - b.to);
  let end = 0;
  for (const { from, to } of places) {
    if (from !== end) throw damaged(file.name, `its tensors leave a gap or overlap at byte ${end}`);
    end = to;
  }
  if (end > dataBytes) throw truncated(file.name, file.sizeBytes, file.sizeBytes - dataBytes + end);
  if (end < dataBytes) throw damaged(file.name, `${dataBytes - end} bytes follow its last tensor`);
  return places.map(({ name, dtype, shape }) => ({ name, dtype, shape }));
}

function checkMetadata(metadata: unknown, file: string): void {
  if (metadata === null) return;
  if (typeof metadata !== "object" || Array.isArray(metadata) || Object.values(metadata).some((v) => typeof v !== "string"))
    throw damaged(file, "its __metadata__ is not an object of strings");
}

/** A tensor, and where its bytes are, from the start of the data. */
interface Place extends Tensor {
  readonly from: number;
  readonly to: number;
}

function readPlace(tensor: string, info: unknown, file: string): Place {
  const { dtype, shape, data_offsets: offsets } = (info ?? {}) as { dtype?: unknown; shape?: unknown; data_offsets?: unknown };
  const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  const [from, to] = Array.isArray(offsets) && offsets.length === 2 ? (offsets as unknown[]) : [];
  if (typeof dtype !== "string" || !Array.isArray(shape) || !shape.every(isCount) || !isCount(from) || !isCount(to) || to < from)
    throw damaged(file, `its header does not describe tensor ${brief(tensor)}`);
  const elementBytes = Object.hasOwn(ELEMENT_BYTES, dtype) ? ELEMENT_BYTES[dtype] : undefined;
  const bytes = shape.reduce((product, n) => product * n, elementBytes ?? 0);
  if (elementBytes !== undefined && bytes !== to - from)
    throw damaged(file, `tensor ${brief(tensor)} takes ${bytes} bytes by its shape and ${to - from} by its place`);
  return { name: tensor, dtype, shape, from, to };
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
