import { DEFAULT_HEADER_TABLE_BYTES } from "./constants.ts";
import { compressionError } from "./errors.ts";
import { decodeHuffman } from "./huffman.ts";
import { STATIC_TABLE } from "./static-table.ts";

/** One header; each character of its strings is a byte. */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
  /** Whether the name may stand in a request (RFC 9113, section 8.2.1). */
  readonly valid: boolean;
}

/** What a table holds of a header besides its strings, in bytes (RFC 7541, section 4.1). */
const ENTRY_BYTES = 32;
/** Above any length that a header block can have. */
const MAX_INTEGER = 2 ** 28;

export function sizeOf(field: HeaderField): number {
  return field.name.length + field.value.length + ENTRY_BYTES;
}

/** Makes a field and looks at its characters once: what stands in a table is not looked at again. */
export function fieldOf(name: string, value: string): HeaderField {
  return { name, value, valid: /^:?[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name) && !/[\0\r\n]/.test(value) };
}

const STATIC: readonly HeaderField[] = STATIC_TABLE.map(([name, value = ""]) => fieldOf(name, value));

/** HPACK's decoder (RFC 7541) of one connection. The table never holds more than the 4,096 bytes that HTTP/2 gives by default. */
export class HpackDecoder {
  /** The newest last. */
  readonly #dynamic: HeaderField[] = [];
  #dynamicBytes = 0;
  #maxBytes = DEFAULT_HEADER_TABLE_BYTES;
  #changes = 0;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;

  /** How often the table was changed. While it was not, a block means what it meant before. */
  get changes(): number {
    return this.#changes;
  }

  /**
   * Decodes a whole header block. It must be called for every block, also of streams that are not served: each changes the table.
   *
   * @throws ConnectionError for bytes that are no header block; the connection cannot go on
   */
  decode(block: Buffer, onField: (field: HeaderField) => void): void {
    this.#block = block;
    this.#at = 0;
    let fields = 0;
    while (this.#at < block.length) {
      const byte = block[this.#at] ?? 0;
      if ((byte & 0x80) !== 0) {
        onField(this.#field(this.#integer(0x7f)));
      } else if ((byte & 0x40) !== 0) {
        const field = this.#literal(0x3f);
        this.#add(field);
        onField(field);
      } else if ((byte & 0x20) !== 0) {
        if (fields > 0) throw compressionError("a table size update stands behind a header");
        this.#resize(this.#integer(0x1f));
        continue;
      } else {
        onField(this.#literal(0x0f));
      }
      fields += 1;
    }
  }

  #field(index: number): HeaderField {
    const field = index <= STATIC.length ? STATIC[index - 1] : this.#dynamic[this.#dynamic.length - (index - STATIC.length)];
    if (field === undefined) throw compressionError(`there is no header ${index} in the table`);
    return field;
  }

  #literal(mask: number): HeaderField {
    const index = this.#integer(mask);
    const name = index === 0 ? this.#string() : this.#field(index).name;
    return fieldOf(name, this.#string());
  }

  /** An integer whose first bits stand under a mask (RFC 7541, section 5.1). */
  #integer(mask: number): number {
    const block = this.#block;
    let value = (block[this.#at++] ?? 0) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = block[this.#at++];
      if (byte === undefined) throw compressionError("an integer is cut short");
      value += (byte & 0x7f) * 2 ** shift;
      if (value > MAX_INTEGER) break;
      if ((byte & 0x80) === 0) return value;
    }
    throw compressionError("an integer is too large");
  }

  #string(): string {
    const block = this.#block;
    if (this.#at >= block.length) throw compressionError("a string is missing");
    const huffman = ((block[this.#at] ?? 0) & 0x80) !== 0;
    const length = this.#integer(0x7f);
    const start = this.#at;
    this.#at += length;
    if (this.#at > block.length) throw compressionError("a string is cut short");
    return huffman ? decodeHuffman(block, start, this.#at) : block.toString("latin1", start, this.#at);
  }

  #add(field: HeaderField): void {
    const bytes = sizeOf(field);
    this.#changes += 1;
    this.#evict(Math.max(this.#maxBytes - bytes, 0));
    if (bytes > this.#maxBytes) return; // It empties the table, by the RFC.
    this.#dynamic.push(field);
    this.#dynamicBytes += bytes;
  }

  #resize(maxBytes: number): void {
    if (maxBytes > DEFAULT_HEADER_TABLE_BYTES) throw compressionError(`a table of ${maxBytes} bytes; at most 4096 were offered`);
    this.#changes += 1;
    this.#maxBytes = maxBytes;
    this.#evict(maxBytes);
  }

  #evict(toBytes: number): void {
    while (this.#dynamicBytes > toBytes) {
      const oldest = this.#dynamic.shift();
      if (oldest === undefined) return;
      this.#dynamicBytes -= sizeOf(oldest);
    }
  }
}
