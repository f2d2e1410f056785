/** One tensor as the header of a safetensors file describes it. */
export interface TensorInfo {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Begin and end, in bytes after the header. */
  readonly offsets: readonly [number, number];
}

/** The header does not describe the file. The message is the one that the safetensors library gives, because vLLM passes it on. */
export class SafetensorsError extends Error {
  override readonly name = "SafetensorsError";
}

/** Bytes of the length field at the start of a file. */
export const LENGTH_BYTES = 8;
const MAX_HEADER_BYTES = 100_000_000;

const BITS = new Map(
  Object.entries({
    BOOL: 8,
    U8: 8,
    I8: 8,
    F8_E5M2: 8,
    F8_E4M3: 8,
    I16: 16,
    U16: 16,
    F16: 16,
    BF16: 16,
    I32: 32,
    U32: 32,
    F32: 32,
    F64: 64,
    I64: 64,
    U64: 64,
  }),
);

function fail(what: string): never {
  throw new SafetensorsError(`Error while deserializing header: ${what}`);
}

/**
 * Length of the header in bytes, from the first bytes of a file.
 * @throws SafetensorsError if the file cannot hold such a header
 */
export function headerBytes(start: Uint8Array, fileBytes: number): number {
  if (start.byteLength < LENGTH_BYTES) fail("header too small");
  const length = new DataView(start.buffer, start.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) fail("header too large");
  if (Number(length) + LENGTH_BYTES > fileBytes) fail("invalid header length");
  return Number(length);
}

function isShape(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

function tensor(name: string, value: unknown): TensorInfo {
  const { dtype, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>;
  if (typeof dtype !== "string" || !isShape(shape) || !isShape(offsets) || offsets.length !== 2)
    fail(`invalid JSON in header: tensor ${name}`);
  return { dtype, shape, offsets: [offsets[0] ?? 0, offsets[1] ?? 0] };
}

/**
 * Reads the header and checks, as the safetensors library does, that the tensors follow each other without gaps,
 * have the size of their shape and cover the file to its last byte.
 * @throws SafetensorsError with the library's own words
 */
export function parseHeader(header: Uint8Array, fileBytes: number): ReadonlyMap<string, TensorInfo> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(header));
  } catch (error) {
    fail(error instanceof SyntaxError ? `invalid JSON in header: ${error.message}` : "invalid UTF-8 in header");
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) fail("invalid JSON in header: expected a map");
  const tensors = new Map(
    Object.entries(json)
      .filter(([name]) => name !== "__metadata__")
      .map(([name, value]) => [name, tensor(name, value)] as const),
  );
  let end = 0;
  for (const [name, info] of [...tensors].sort(([, a], [, b]) => a.offsets[0] - b.offsets[0])) {
    const [from, to] = info.offsets;
    if (from !== end || to < from) fail(`invalid offset for tensor \`${name}\``);
    const bits = BITS.get(info.dtype);
    if (bits === undefined) fail(`invalid JSON in header: unknown dtype ${info.dtype}`);
    if (((to - from) * 8) / bits !== info.shape.reduce((a, b) => a * b, 1)) fail("invalid shape, data type, or offset for tensor");
    end = to;
  }
  if (LENGTH_BYTES + header.byteLength + end !== fileBytes) fail("incomplete metadata, file not fully covered");
  return tensors;
}
